"""What one worker process has of sessions, on a Redis: the store, its cache, and the signals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bff.sessions.cache import MAX_AGE, MAX_AGE_IN_CLUSTER, SessionCache
from bff.sessions.directory import Directory
from bff.sessions.live import LiveSessions
from bff.sessions.logins import Logins
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.session import Session
from bff.sessions.signals import Signals
from bff.sessions.store import Lifetimes, SessionStore
from tests.support.sessions import a_session

SECRET = "a secret for tests, long enough..."
LIFETIMES = Lifetimes(idle=1800, absolute=43_200)


@dataclass
class Worker:
    """The rooms of one worker that know Redis, wired as the service wires them."""

    redis: Redis
    store: SessionStore
    signals: Signals
    cache: SessionCache
    live: LiveSessions
    logins: Logins
    directory: Directory

    async def sign_in(self, session_id: str, **changes: object) -> Session:
        """Write a new session, of a login that begins now by the clock of this machine."""
        now = round(time.time(), 3)
        session = a_session(session_id, **{"now": now, **changes})  # type: ignore[arg-type]
        await self.store.create(session, issued_at=now, started_at=now)
        return session

    async def listening(self, seconds: float = 10) -> None:
        """Wait until the channel is proven alive, so that the cache is on."""
        async with asyncio.timeout(seconds):
            while not self.signals.proven:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def worker(
    url: str,
    *,
    lifetimes: Lifetimes = LIFETIMES,
    limit: int = 0,
    listen: bool = True,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Worker]:
    """Open a worker's rooms; without `listen` it has no signals, and so no cache."""
    redis = connect(url)
    store = SessionStore(redis, Sealer([SECRET], "session"), lifetimes, clock)
    signals = Signals(redis)
    cache = SessionCache(
        lambda: signals.proven,
        asyncio.get_running_loop().time,
        max_age=MAX_AGE_IN_CLUSTER if redis.clustered else MAX_AGE,
    )
    live = LiveSessions(store, signals)
    logins = Logins(redis, Sealer([SECRET], "login"))
    directory = Directory(redis, store, limit)
    opened = Worker(redis, store, signals, cache, live, logins, directory)
    if listen:
        store.cache = cache
        signals.add(cache)
        signals.start()
        live.start()
    try:
        yield opened
    finally:
        await live.aclose()
        await signals.aclose()
        await redis.aclose()


async def keys_of(redis: Redis) -> dict[str, int]:
    """Return every key that there is, on all servers, and its time to live in milliseconds."""
    found: dict[str, int] = {}
    for client in await redis._nodes.clients():
        async for name in client.scan_iter("*", count=1000):
            found[name.decode()] = await client.pttl(name)
    return found


async def empty(redis: Redis) -> None:
    """Remove every key; FLUSHALL may not be allowed to us."""
    for client in await redis._nodes.clients():
        async for name in client.scan_iter("*", count=1000):
            await client.delete(name)
