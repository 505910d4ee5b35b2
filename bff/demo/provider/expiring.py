"""A bounded dictionary whose entries end by themselves.

All entries of one map live equally long, so the oldest is always the first: each write drops what
has expired from the front, in constant time for each entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

V = TypeVar("V")


class ExpiringMap(Generic[V]):
    """Keep values under string keys for `lifetime` seconds of `clock`, at most `limit` of them."""

    def __init__(self, clock: Callable[[], float], lifetime: float, limit: int = 100_000) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._limit = limit
        self._entries: dict[str, tuple[float, V]] = {}

    def __len__(self) -> int:
        """Count what is alive."""
        self._drop_expired()
        return len(self._entries)

    def __setitem__(self, key: str, value: V) -> None:
        """Keep `value`; a full map forgets its oldest entry."""
        self._entries.pop(key, None)
        self._drop_expired()
        if len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (self._clock() + self._lifetime, value)

    def get(self, key: str | None) -> V | None:
        """Return the value if it is alive."""
        if key is None:
            return None
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > self._clock() else None

    def pop(self, key: str | None) -> V | None:
        """Take the value out if it is alive."""
        value = self.get(key)
        if key is not None:
            self._entries.pop(key, None)
        return value

    def values(self) -> Iterator[V]:
        """Go through a copy of all values alive, oldest first."""
        self._drop_expired()
        return iter([value for _, value in self._entries.values()])

    def export(self) -> dict[str, tuple[float, V]]:
        """Return a copy of all entries alive, oldest first, each with when it ends."""
        self._drop_expired()
        return dict(self._entries)

    def restore(self, entries: dict[str, tuple[float, V]]) -> None:
        """Put exported entries in the place of all there are."""
        self._entries = dict(entries)
        self._drop_expired()

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]
