"""Who has which sessions: for their owner, for operators, and for the limit of sessions a user.

Read from the index of `iss|sub`, which holds the keys of all sessions that a user may have. An
entry without a record is passed over, never taken out: its login may be about to write one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from bff.sessions import names
from bff.sessions.redis import Redis
from bff.sessions.session import Session
from bff.sessions.store import EndReason, SessionStore

BATCH = 100
RECORDS = "bff:{*}:session"


class Directory:
    """Finds sessions by their user, or all of them."""

    def __init__(self, redis: Redis, store: SessionStore, greatest_number: int = 0) -> None:
        self._redis = redis
        self._store = store
        self._greatest_number = greatest_number

    async def of_user(self, iss: str, sub: str) -> list[Session]:
        """Return the live sessions of a user, the newest first."""
        found: dict[str, Session] = {}
        async for keys in self._store.index.members(names.group_of_sub(iss, sub)):
            sessions = await self._store.load_many(keys)
            found |= {session.key: session for session in sessions if session is not None}
        return sorted(found.values(), key=lambda session: session.created_at, reverse=True)

    async def everybody(self) -> AsyncIterator[Session]:
        """Return every live session, in no order, a batch at a time."""
        batch: list[str] = []
        async for name in self._redis.scan(RECORDS):
            batch.append(names.key_of_record(name))
            if len(batch) == BATCH:
                for session in await self._store.load_many(batch):
                    if session is not None:
                        yield session
                batch = []
        for session in await self._store.load_many(batch):
            if session is not None:
                yield session

    async def keep_to_limit(self, session: Session) -> list[Session]:
        """End the oldest sessions of a user who has more than allowed now; return them.

        Only older ones than this: of two logins at the same time one ends the other, never both.
        """
        if not self._greatest_number:
            return []
        sessions = await self.of_user(session.iss, session.sub)
        sessions.sort(key=_age)
        too_many = sessions[: max(0, len(sessions) - self._greatest_number)]
        older = [one.key for one in too_many if _age(one) < _age(session)]
        return await self._store.end_many(older, EndReason.TOO_MANY)


def _age(session: Session) -> tuple[float, str]:
    return session.created_at, session.key
