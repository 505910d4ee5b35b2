"""Records of Redis, opened: unsealed and parsed, once for all who asked for one at the same time.

A page may ask for many things at once with a session that this worker has not opened yet; all of
them get the same bytes in the same turn of the event loop, and the same session for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bff.sessions import names
from bff.sessions.cache import size_of
from bff.sessions.seal import BrokenSealError, Sealer
from bff.sessions.session import Session

PREFIX = 16


@dataclass(frozen=True, slots=True)
class Opened:
    """A session `at_hand`, which takes about `size` bytes of memory, and what it was read from."""

    session: Session
    size: int
    record: bytes


class Opener:
    """Opens records, as `SessionStore` describes them."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._now: dict[str, Opened] = {}

    def open(self, key: str, record: bytes, *, whole: bool = True) -> Session | None:
        """Return the session of a record; None if it was not sealed by us, for this key."""
        generation = int.from_bytes(record[:8], "big")
        last_used_at = int.from_bytes(record[8:PREFIX], "big") / 1000
        try:
            plain = self._sealer.open(record[PREFIX:], names.record(key).encode())
        except BrokenSealError:
            return None
        return Session.parse(plain, key, generation, last_used_at, whole=whole)

    def at_hand(self, key: str, record: bytes, whole: Session | None = None) -> Opened | None:
        """Return the session at hand, the same for all who bring the same bytes in this turn.

        It is made of the `whole`, where that has been opened.
        """
        opened = self._now.get(key)
        if opened is not None and opened.record is record:
            return opened
        session = self.open(key, record, whole=False) if whole is None else whole.at_hand()
        if session is None:
            return None
        if not self._now:
            asyncio.get_running_loop().call_soon(self._now.clear)
        opened = self._now[key] = Opened(session, size_of(session), record)
        return opened
