"""Opened records, kept by a worker for a moment, so that a busy session costs Redis nothing.

A record may be served from here for up to 30 seconds (one second with a Redis Cluster, whose nodes
may be cut off from each other), but only while the channel of `signals` is proven alive; when it is
not, the cache is off and empty. A message about a key takes its record
out, and marks every read of that key that is under way, so that what it brings back is not kept.
Bounded in entries and in bytes; what was not used for longest goes first, and what is too old goes
as others come, a few at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from sys import getsizeof
from typing import Any, NamedTuple

from bff.sessions.session import Session

MAX_AGE = 30.0
MAX_AGE_IN_CLUSTER = 1.0
MAX_ENTRIES = 10_000
MAX_BYTES = 33_554_432
# What stands around the tokens and claims of a session: its objects and their numbers, its place in
# the cache, and its cookie and key, which are remembered too.
OVERHEAD = 1_500
CLEARED_AT_ONCE = 4


def size_of(session: Session) -> int:
    """Return about how many bytes of memory a session at hand takes in all."""
    size = OVERHEAD + getsizeof(session.tokens.access_token)
    for token in session.upstream_tokens.values():
        size += OVERHEAD // 4 + getsizeof(token.access_token)
    todo: list[Any] = [session.claims]
    while todo:
        value = todo.pop()
        size += getsizeof(value)
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
    return size


class Reading:
    """One read of a record that is under way."""

    __slots__ = ("key", "overtaken")

    def __init__(self, key: str) -> None:
        self.key = key
        self.overtaken = False


class _Entry(NamedTuple):
    session: Session
    size: int
    read_at: float


class SessionCache:
    """The opened records of one worker. `clock` is the event loop's; times are in seconds."""

    def __init__(
        self,
        proven: Callable[[], bool],
        clock: Callable[[], float],
        *,
        max_age: float = MAX_AGE,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._proven = proven
        self._clock = clock
        self._max_age = max_age
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._readings: dict[str, set[Reading]] = {}

    def get(self, key: str) -> Session | None:
        """Return the record of a key, if it may still be believed."""
        if not self._proven():
            self.missed()
            return None
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() - entry.read_at > self._max_age:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.session

    def begin(self, key: str) -> Reading:
        """Note that a read of this key begins now."""
        reading = Reading(key)
        self._readings.setdefault(key, set()).add(reading)
        return reading

    def finish(self, reading: Reading, session: Session | None, size: int) -> None:
        """Note that a read is over; keep what it brought, unless a message overtook it."""
        readings = self._readings.get(reading.key)
        if readings is not None:
            readings.discard(reading)
            if not readings:
                del self._readings[reading.key]
        if session is None or reading.overtaken or not self._proven():
            return
        self._remove(reading.key)
        now = self._clock()
        self._entries[reading.key] = _Entry(session, size, now)
        self._bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop_first()
        for _ in range(CLEARED_AT_ONCE):
            if not self._entries or now - self._first().read_at <= self._max_age:
                break
            self._drop_first()

    def exchange(self, session: Session, used: Session) -> None:
        """Put a newer form of a record in its place, if it is still the one that is kept."""
        entry = self._entries.get(session.key)
        if entry is not None and entry.session is session:
            self._entries[session.key] = entry._replace(session=used)

    def forget(self, key: str) -> None:
        """Take out the record of a key, and keep none that is being read."""
        self._remove(key)
        for reading in self._readings.get(key, ()):
            reading.overtaken = True

    def ended(self, key: str, reason: str) -> None:
        """Hear that a session has ended."""
        del reason
        self.forget(key)

    def changed(self, key: str) -> None:
        """Hear that a session has new tokens."""
        self.forget(key)

    def missed(self) -> None:
        """Hear that messages may have been lost: nothing here can be believed."""
        self._entries.clear()
        self._bytes = 0
        for readings in self._readings.values():
            for reading in readings:
                reading.overtaken = True

    def __len__(self) -> int:
        """Return how many records are kept."""
        return len(self._entries)

    def _first(self) -> _Entry:
        return next(iter(self._entries.values()))

    def _drop_first(self) -> None:
        _, dropped = self._entries.popitem(last=False)
        self._bytes -= dropped.size

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
