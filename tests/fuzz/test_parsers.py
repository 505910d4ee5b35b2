"""Parsers of foreign bytes, fed with anything, and with valid input that was tampered with."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

EXAMPLES = 150
LONG = 200_000  # bytes
LINEAR = 5.0  # seconds of processor time that a long input may take


def tampered(seed: bytes) -> st.SearchStrategy[bytes]:
    """Return the seed with a few pieces cut out, put in, doubled or changed."""
    place = st.integers(0, len(seed))
    edit = st.tuples(place, place, st.binary(max_size=8) | st.sampled_from(INTERESTING))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = seed
        for first, last, put in edits:
            start, end = sorted((first, last))
            end = min(end, start + 8)
            changed = changed[:start] + put + changed[end:]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply)


INTERESTING = [
    b"null", b"true", b"[]", b"{}", b"-1", b"1e999", b"NaN", b'""', b"\x00", b"\xff",
    b"\xed\xa0\x80", b"%00", b"%", b"..", b"//", b"\\", b'"', b",", b";", b"=", b"\r\n",
    b"9" * 30, b"{" * 30, b"[" * 30,
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_parser_answers_or_refuses(target: Target) -> None:
    """Valid, or one of the errors that it names; never another exception."""
    for seed in target.seeds:
        target.run(seed) if target.name not in REFUSING else target(seed)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    @given(st.binary(max_size=64) | st.one_of([tampered(seed) for seed in target.seeds]))
    def feed(data: bytes) -> None:
        target(data)

    feed()


REFUSING = {
    "id_token_claims", "token", "token_answer", "token_header", "path", "frames", "callback_query",
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_long_input_takes_no_long_time(target: Target) -> None:
    """What is repeated two hundred thousand bytes long costs no more than in proportion."""
    for piece in (b"[", b"{", b"a", b"%41", b'"', b",", b"..", b'{"a":', b"-----BEGIN ", b"9"):
        began = time.process_time()
        target((piece * LONG)[:LONG])
        for seed in target.seeds:
            target(seed + (piece * LONG)[:LONG])
        assert time.process_time() - began < LINEAR, piece
