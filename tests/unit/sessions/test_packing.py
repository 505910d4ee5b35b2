"""Tokens packed into fewer bytes come back letter by letter."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.sessions.packing import MAX_PARTS, pack, unpack
from tests.support.jose import sign

TOKENISH = st.text(alphabet="abYZ019-_.+/= \n\u20ac", max_size=40)


@given(st.lists(st.none() | TOKENISH | st.text(), max_size=5))
@example([None])
@example([""])
@example(["."])
@example(["YQ", "YQ==", "YR", "Y", "YQ\n", "a+b/", "a-b_"])
@example(["\ud800.YQ"])
def test_every_token_comes_back(tokens: list[str | None]) -> None:
    """Whatever they look like: JWTs, opaque ones, sloppy base64, and such as no text can hold."""
    assert unpack(pack(tokens)) == tokens


def test_a_jwt_takes_a_quarter_less() -> None:
    """Which is what it is for."""
    token = sign({"sub": "alice", "name": "Alice Adams"})
    assert len(pack([token])) < 0.79 * len(token)


def test_an_opaque_token_takes_hardly_more() -> None:
    """One that is no base64url costs four bytes."""
    assert len(pack(["opaque token!"])) == len("opaque token!") + 4


@pytest.mark.parametrize("dots", [MAX_PARTS - 1, MAX_PARTS, 1000])
def test_a_token_of_many_dots_comes_back(dots: int) -> None:
    """One with more parts than can be counted is kept as it is."""
    assert unpack(pack(["a." * dots, "b"])) == ["a." * dots, "b"]
