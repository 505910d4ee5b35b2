"""The session store: sealed records, compare-and-set, and one way to end a session.

**Ended is final.** A record is made once (`create`), under an id nobody else knows, and afterwards
only ever replaced by a write that names the generation it read (`save`). `end` removes it and
leaves a tombstone in the same slot, in one script; neither `create` nor `save` writes over one.

**A logout that comes first wins.** `create` enters the session into its groups (`iss|sid`,
`iss|sub`; see `index`) *before* it writes the record, reads the groups' logged-out marks in the
same script and once more after the write, and ends what it wrote where one bars it. A logout sets
the mark *before* it reads who is there. Whichever way the two interleave, either the logout finds
the member or the login finds the mark. A login that began after the logout, or whose ID token is
newer than the logout token, passes.

A record in Redis is 8 bytes of generation, 8 bytes of last use (milliseconds), and the sealed rest.
Its time to live is the idle time-out, cut short by the absolute one: nothing needs a clean-up job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bff.sessions import names
from bff.sessions.cache import SessionCache
from bff.sessions.index import MARK_TTL, SLICE, Index, barred
from bff.sessions.opener import Opened, Opener
from bff.sessions.record_scripts import CREATE, END, SAVE, TOUCH
from bff.sessions.redis import Call, Redis
from bff.sessions.seal import Sealer
from bff.sessions.session import Session

TOMBSTONE_TTL = MARK_TTL
FOR_EVER = 10**12


class EndReason(StrEnum):
    """Why a session ended: for the log and for the browser's event stream."""

    LOGOUT = "logout"
    BACKCHANNEL = "backchannel_logout"
    FRONTCHANNEL = "frontchannel_logout"
    REPLACED = "replaced"
    REVOKED = "revoked"
    EXPIRED = "expired"
    WRONG_USER = "wrong_user"
    ENDED_BY_USER = "ended_by_user"
    ENDED_BY_OPERATOR = "ended_by_operator"
    TOO_MANY = "too_many_sessions"


class LoggedOutError(Exception):
    """The provider signed this user or session out while the login was on its way."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The clocks of every session, in seconds."""

    idle: float
    absolute: float


class SessionStore:
    """All sessions, in Redis. Every method raises StoreUnavailableError when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        sealer: Sealer,
        lifetimes: Lifetimes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lifetimes = lifetimes
        self.clock = clock
        self.cache: SessionCache | None = None
        self.index = Index(redis, lifetimes.idle)
        self._opener = Opener(sealer)
        self._redis = redis
        self._sealer = sealer

    async def load(self, key: str) -> Session | None:
        """Return the live session of this key as requests need it; None where there is none.

        Where there is a cache, that is `Session.at_hand`; `reload` gives the whole.
        """
        kept = None if self.cache is None else self.cache.get(key)
        if kept is not None and kept.alive(self.clock(), self.lifetimes.idle):
            return kept
        return await self._read(key, whole=self.cache is None)

    async def reload(self, key: str) -> Session | None:
        """Return the live session of this key, whole, as Redis has it now."""
        return await self._read(key, whole=True)

    async def _read(self, key: str, *, whole: bool) -> Session | None:
        reading = None if self.cache is None else self.cache.begin(key)
        session: Session | None = None
        kept: Opened | None = None
        try:
            found = await self._redis.fetch(names.record(key))
            if found is not None and whole:
                session = self._opener.open(key, found)
            if found is not None and reading is not None and (session is not None or not whole):
                kept = self._opener.at_hand(key, found, session)
        finally:
            if self.cache is not None and reading is not None:
                if kept is None:
                    self.cache.finish(reading, None, 0)
                else:
                    self.cache.finish(reading, kept.session, kept.size)
        if not whole and kept is not None:
            session = kept.session
        if session is None or not session.alive(self.clock(), self.lifetimes.idle):
            return None
        return session

    async def load_many(self, keys: Sequence[str]) -> list[Session | None]:
        """Return the live sessions of several keys, as Redis has them now."""
        return list(await asyncio.gather(*(self.reload(key) for key in keys)))

    async def create(self, session: Session, *, issued_at: float, started_at: float) -> None:
        """Write a new session (generation 0) of a login.

        `issued_at` is its ID token's `iat`, by the provider's clock; `started_at` is when its login
        began, by that of Redis (`Login.started_at`).

        Raises LoggedOutError where the provider has signed it out already.
        """
        groups = self._groups(session)
        left = session.ends_at - self.clock()
        entered, (written,), marked = await self._redis.run_in_order(
            [
                self.index.entering(groups, session.key, left),
                [
                    Call(
                        CREATE,
                        [names.record(session.key), names.tombstone(session.key)],
                        [self._record(session), self._ttl(session)],
                    )
                ],
                self.index.marked(groups),
            ],
            lasting=True,
        )
        if not written or barred([*entered, *marked], issued_at, started_at):
            await self.end(session.key, EndReason.BACKCHANNEL)
            raise LoggedOutError

    async def save(self, session: Session) -> bool:
        """Replace the record by its next generation; False if it ended or changed meanwhile."""
        before = (session.generation - 1).to_bytes(8, "big")
        name = names.record(session.key)
        sealed = self._sealer.seal(session.dump(), name.encode())
        after = session.generation.to_bytes(8, "big")
        message = names.changed_message(session.key)
        saved = bool(
            await self._redis.run(
                SAVE, [name], [before, after, sealed, names.CHANNEL, message], lasting=True
            )
        )
        self._forget(session.key)
        return saved

    async def touch(self, session: Session) -> Session:
        """Note that the session is in use now, which puts off its idle end; return it so."""
        used = replace(session, last_used_at=self.clock())
        await self.touch_all([(session, used)])
        self._forget(session.key)
        return used

    async def touch_all(self, uses: Sequence[tuple[Session, Session]]) -> None:
        """Note uses of sessions: as they were, and as they are. Some may be noted when it raises.

        An entry in an index is put off before the record that it must outlive.
        """
        now = self.clock()
        due = self.index.extension_due
        await asyncio.gather(
            *(
                self.index.extend(self._groups(used), used.key, used.ends_at - now)
                for session, used in uses
                if due(session.last_used_at, used.last_used_at)
            )
        )
        await self._redis.run_all(
            TOUCH,
            [
                ([names.record(used.key)], [_milliseconds(used.last_used_at), self._ttl(used)])
                for _, used in uses
            ],
        )

    async def end(self, key: str, reason: EndReason) -> Session | None:
        """End one session, for good and on every worker. Return what it was, None if unknown."""
        (session,) = await self._end_all([key], reason)
        if session is not None:
            await self.index.leave([(group, key) for group in self._groups(session)])
        return session

    async def end_many(self, keys: Sequence[str], reason: EndReason) -> list[Session]:
        """End several sessions; return those there were."""
        ended: list[Session] = []
        for start in range(0, len(keys), SLICE):
            found = await self._end_all(keys[start : start + SLICE], reason)
            sessions = [session for session in found if session is not None]
            await self.index.leave(
                [(group, session.key) for session in sessions for group in self._groups(session)]
            )
            ended += sessions
        return ended

    async def why_ended(self, key: str) -> str:
        """Return why a session that is not there any more has ended."""
        reason = await self._redis.get(names.tombstone(key))
        return EndReason.EXPIRED if reason is None else reason.decode()

    async def end_sid(self, iss: str, sid: str, reason: EndReason) -> list[Session]:
        """End every session of one session at the provider, also those still being made."""
        return await self._end_group(names.group_of_sid(iss, sid), FOR_EVER, reason)

    async def end_sub(self, iss: str, sub: str, issued_at: int, reason: EndReason) -> list[Session]:
        """End every session of a user, also those still being made of an older ID token."""
        return await self._end_group(names.group_of_sub(iss, sub), issued_at, reason)

    async def _end_group(self, group: str, issued_at: int, reason: EndReason) -> list[Session]:
        acted_on_at = await self.index.mark(group, issued_at)
        ended: list[Session] = []
        # The index may move to another server meanwhile, where a cursor leads elsewhere: so it is
        # read until a reading from start to end finds nobody.
        found_some = True
        while found_some:
            found_some = False
            async for keys in self.index.members(group, acted_on_at):
                found_some = True
                ended += await self._end_members(group, keys, reason)
        return ended

    async def _end_members(self, group: str, keys: list[str], reason: EndReason) -> list[Session]:
        found = await self._end_all(keys, reason)
        ended = [session for session in found if session is not None]
        elsewhere = [
            (other, session.key)
            for session in ended
            for other in self._groups(session)
            if other != group
        ]
        await self.index.leave([(group, key) for key in keys] + elsewhere)
        return ended

    async def _end_all(self, keys: Sequence[str], reason: EndReason) -> list[Session | None]:
        records = await self._redis.run_all(
            END,
            [
                (
                    [names.record(key), names.tombstone(key)],
                    [names.CHANNEL, reason, TOMBSTONE_TTL, names.ended_message(key, reason)],
                )
                for key in keys
            ],
            lasting=True,
        )
        for key in keys:
            self._forget(key)
        return [
            None if record is None else self._opener.open(key, record)
            for key, record in zip(keys, records, strict=True)
        ]

    def _forget(self, key: str) -> None:
        if self.cache is not None:
            self.cache.forget(key)

    @staticmethod
    def _groups(session: Session) -> list[str]:
        groups = [names.group_of_sub(session.iss, session.sub)]
        if session.sid is not None:
            groups.append(names.group_of_sid(session.iss, session.sid))
        return groups

    def _record(self, session: Session) -> bytes:
        sealed = self._sealer.seal(session.dump(), names.record(session.key).encode())
        used = _milliseconds(session.last_used_at)
        return session.generation.to_bytes(8, "big") + used + sealed

    def _ttl(self, session: Session) -> int:
        left = session.idle_ends_at(self.lifetimes.idle) - self.clock()
        return max(1, round(left * 1000))


def _milliseconds(seconds: float) -> bytes:
    return int(seconds * 1000).to_bytes(8, "big")
