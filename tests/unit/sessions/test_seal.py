"""The seal: what was sealed opens under its own name and secret, and nothing else opens."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.sessions.seal import HEAD, KEY_ID, NONCE, TAG, BrokenSealError, Sealer, derive

OLD, NEW, OTHER = ("o" * 32, "n" * 32, "x" * 32)
NAME = b"bff:{abc}:session"


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_was_sealed_opens(plain: bytes, name: bytes) -> None:
    """Any bytes under any name come back."""
    sealer = Sealer([NEW], "session")
    sealed = sealer.seal(plain, name)
    assert sealer.open(sealed, name) == plain
    assert len(sealed) == HEAD + len(plain) + TAG


def test_nothing_shows_through() -> None:
    """Sealing the same twice gives different bytes, and none of them are the plain ones."""
    sealer = Sealer([NEW], "session")
    first, second = sealer.seal(b"secret" * 10, NAME), sealer.seal(b"secret" * 10, NAME)
    assert first[:5] == second[:5]
    assert first[5:] != second[5:]
    assert b"secret" not in first


def test_randomness_is_asked_for_every_nonce() -> None:
    """Each seal draws a nonce of 96 bits (NIST SP 800-38D)."""
    asked: list[int] = []

    def draw(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    sealer = Sealer([NEW], "session", draw)
    for _ in range(3):
        sealer.seal(b"x", NAME)
    assert asked == [NONCE] * 3


@pytest.mark.parametrize("plain", [b"", b"x", b"a record of some length" * 3])
def test_every_changed_byte_breaks_it(plain: bytes) -> None:
    """Each single bit of each byte counts: version, key id, nonce, ciphertext and tag."""
    sealer = Sealer([NEW, OLD], "session")
    sealed = sealer.seal(plain, NAME)
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises(BrokenSealError):
                sealer.open(bytes(changed), NAME)


def test_every_cut_and_addition_breaks_it() -> None:
    """No part of it, and nothing more than it, opens."""
    sealer = Sealer([NEW], "session")
    sealed = sealer.seal(b"record", NAME)
    for length in range(len(sealed)):
        with pytest.raises(BrokenSealError):
            sealer.open(sealed[:length], NAME)
    for more in (sealed + b"\x00", b"\x00" + sealed, sealed + sealed):
        with pytest.raises(BrokenSealError):
            sealer.open(more, NAME)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_sealed_value_is_bound_to_its_name(name: bytes, other: bytes) -> None:
    """Moved to another Redis key it does not open."""
    sealer = Sealer([NEW], "session")
    sealed = sealer.seal(b"record", name)
    if name != other:
        with pytest.raises(BrokenSealError):
            sealer.open(sealed, other)


def test_purposes_and_secrets_are_apart() -> None:
    """A session does not open as a login, and nothing under another secret."""
    sealed = Sealer([NEW], "session").seal(b"record", NAME)
    for stranger in (Sealer([NEW], "login"), Sealer([OTHER], "session")):
        with pytest.raises(BrokenSealError):
            stranger.open(sealed, NAME)
    assert derive(NEW, "a") != derive(NEW, "b") != derive(OTHER, "b")
    assert len(derive(NEW, "a")) == 32


def test_secrets_rotate() -> None:
    """The first secret seals, all of them open; one that is gone opens no more."""
    before = Sealer([OLD], "session").seal(b"before", NAME)
    during = Sealer([NEW, OLD], "session")
    assert during.open(before, NAME) == b"before"
    after = during.seal(b"after", NAME)
    assert Sealer([NEW], "session").open(after, NAME) == b"after"
    with pytest.raises(BrokenSealError):
        Sealer([OLD], "session").open(after, NAME)
    with pytest.raises(BrokenSealError):
        Sealer([NEW], "session").open(before, NAME)


def test_a_secret_given_twice_does_no_harm() -> None:
    """Listing the same secret again changes nothing."""
    sealer = Sealer([NEW, OLD, NEW], "session")
    assert Sealer([NEW], "session").open(sealer.seal(b"x", NAME), NAME) == b"x"


@pytest.mark.parametrize("version", [b"\x00", b"\x02", b"\xff"])
def test_an_unknown_version_does_not_open(version: bytes) -> None:
    """A format of another time is not guessed at."""
    sealer = Sealer([NEW], "session")
    with pytest.raises(BrokenSealError):
        sealer.open(version + sealer.seal(b"x", NAME)[1:], NAME)


@given(st.binary(max_size=80))
def test_no_noise_opens(noise: bytes) -> None:
    """Bytes that were never sealed do not open, even with the right head."""
    sealer = Sealer([NEW], "session")
    head = sealer.seal(b"", NAME)[: 1 + KEY_ID]
    for data in (noise, head + noise):
        with pytest.raises(BrokenSealError):
            sealer.open(data, NAME)
