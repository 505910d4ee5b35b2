"""How often the provider's documents may be fetched out of turn: at once, but never in a stream.

A token that no key explains asks for a fetch, and strangers can send such. A burst of two lets the
first one through right after a regular fetch, and a second rotation right after the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

REFETCH_BURST = 2
REFETCH_EVERY = 10.0


@dataclass
class Refetches:
    """Refetches allowed now: `REFETCH_BURST` at most, one more every `REFETCH_EVERY` seconds."""

    clock: Callable[[], float]
    filled_at: float
    level: float = REFETCH_BURST

    def take(self) -> bool:
        """Take one; False where there is none just now."""
        now = self.clock()
        self.level = min(REFETCH_BURST, self.level + (now - self.filled_at) / REFETCH_EVERY)
        self.filled_at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Allowance:
    """What one kind of asker may have fetched out of turn; each document is counted by itself."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.keys = Refetches(clock, filled_at=clock())
        self.discovery = Refetches(clock, filled_at=clock())
