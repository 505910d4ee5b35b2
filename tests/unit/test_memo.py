"""A memory of what a function says, which strangers cannot fill."""

from __future__ import annotations

import pytest

from bff.memo import ENTRIES, LONGEST, Memo


def test_a_function_is_asked_once() -> None:
    """The second time the answer is remembered."""
    asked: list[bytes] = []

    def judge(key: bytes) -> int:
        asked.append(key)
        return len(key)

    memo = Memo(judge)
    assert [memo[b"abc"], memo[b"abc"], memo[b"d"]] == [3, 3, 1]
    assert asked == [b"abc", b"d"]


def test_what_is_long_is_not_kept() -> None:
    """Names of any length are judged, but only short ones take up memory."""
    memo = Memo(len)
    assert memo[b"x" * (LONGEST + 1)] == LONGEST + 1
    assert not memo


def test_a_full_memory_begins_anew() -> None:
    """However many names there are, no more than a fixed number is kept."""
    memo = Memo(len)
    for number in range(3 * ENTRIES):
        assert memo[b"%d" % number]
        assert len(memo) <= ENTRIES


def test_a_refusal_is_not_kept() -> None:
    """What raises is asked, and raises, each time."""

    def refuse(_key: bytes) -> int:
        raise ValueError

    memo = Memo(refuse)
    for _ in range(2):
        with pytest.raises(ValueError):
            memo[b"x"]
    assert not memo
