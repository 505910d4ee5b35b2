"""Remembers what a pure function says of short byte strings, such as the names of fields.

Rules: bounded in number and in length, because strangers choose what is asked: what is longer is
judged anew each time, and a full memory starts again from nothing. What is worth more than that is
kept only if it comes again (`Marks`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

LONGEST = 64
ENTRIES = 2048
MARKS = 8192
Answer = TypeVar("Answer")


class Memo(dict[bytes, Answer]):
    """A function as a dictionary: `memo[key]` is what it returned, or raises what it raises."""

    def __init__(self, judge: Callable[[bytes], Answer]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, key: bytes) -> Answer:
        """Ask the function."""
        answer = self._judge(key)
        if len(key) <= LONGEST:
            if len(self) >= ENTRIES:
                self.clear()
            self[key] = answer
        return answer


class Marks:
    """What has come before, as far as is remembered: by hashes, which take little memory."""

    def __init__(self) -> None:
        self._marks: set[int] = set()

    def is_new(self, key: Hashable) -> bool:
        """Whether this is seen for the first time; from now on it is not."""
        mark = hash(key)
        if mark in self._marks:
            return False
        if len(self._marks) >= MARKS:
            self._marks.clear()
        self._marks.add(mark)
        return True
