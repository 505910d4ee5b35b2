"""Remembers what a pure function says of short byte strings, such as the names of fields.

Rules: bounded in number and in length, because strangers choose what is asked: what is longer is
judged anew each time, and a full memory starts again from nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

LONGEST = 64
ENTRIES = 2048
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
