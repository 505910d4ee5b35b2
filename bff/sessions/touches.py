"""Notes in Redis that sessions are in use: after the requests that use them, several at once.

A use puts off the idle end of its session, which must be written, but no request waits for that: a
node of Redis that does not answer delays nobody. Each session is noted at most once a minute
(oftener for short time-outs, `Session.touch_due`), and the opened record that this worker keeps is
told at once. What could not be written is taken out of the cache, so that the next use notes it
again. The service writes what is left when it stops; a crash loses the notes of a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from bff.errors import StoreUnavailableError
from bff.sessions.session import Session
from bff.sessions.store import SessionStore

GATHER_SECONDS = 0.05
AT_ONCE = 128
MAX_PENDING = 16_384

Use = tuple[Session, Session]
log = structlog.get_logger("bff.access")


class Touches:
    """The uses that this worker has yet to note."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._pending: dict[str, Use] = {}
        self._writer: asyncio.Task[None] | None = None
        # Well within the idle time that a session has left, where that is very short.
        self._gather = min(GATHER_SECONDS, store.lifetimes.idle / 100)

    def note(self, session: Session) -> Session:
        """Note that a session is used now; return it so. Beyond the limit it is left as it was."""
        used = replace(session, last_used_at=self._store.clock())
        if len(self._pending) >= MAX_PENDING and session.key not in self._pending:
            return session
        self._pending[session.key] = (session, used)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="touches")
        if self._store.cache is not None:
            self._store.cache.exchange(session, used)
        return used

    async def aclose(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        while self._pending:
            await asyncio.sleep(self._gather)
            uses = list(self._pending.values())
            self._pending = {}
            for start in range(0, len(uses), AT_ONCE):
                failures = await self._write_some(uses[start : start + AT_ONCE])
                if failures:
                    reasons = sorted(set(failures))
                    log.warning("session.touch_failed", number=len(failures), reasons=reasons)

    async def _write_some(self, uses: Sequence[Use]) -> list[str]:
        """Write these together, or else each for itself; return why some could not be written."""
        try:
            await self._store.touch_all(uses)
        except StoreUnavailableError as error:
            if len(uses) == 1:
                if self._store.cache is not None:
                    self._store.cache.forget(uses[0][0].key)
                return [error.reason]
            alone = await asyncio.gather(*(self._write_some([use]) for use in uses))
            return [reason for reasons in alone for reason in reasons]
        return []
