"""Who may refresh the tokens of a session: one holder over all workers and machines.

A lease is a key of Redis with the holder's name and a short time to live, renewed while the holder
lives. It saves the provider a second request; what keeps the record right is its generation. Taking
it waits for a replica, where there may be a failover, so that the next master knows of it too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.redis import Redis, Script
from bff.sessions.tasks import stop

SECONDS = 8.0  # renewed at every third of it

TAKE = Script("""
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end
return 0
""")

RENEW = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")

RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")


class Lease:
    """The lease of one session, as one holder sees it."""

    def __init__(self, redis: Redis, session_key: str) -> None:
        self._redis = redis
        self._name = names.lease(session_key)
        self._holder = secrets.token_hex(16)

    async def take(self) -> bool:
        """Take it, where it is free. Raises StoreUnavailableError."""
        args: list[bytes | str | int] = [self._holder, round(SECONDS * 1000)]
        return bool(await self._redis.run(TAKE, [self._name], args, lasting=True))

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Renew it, once it is taken, and let it go in the end."""
        renewal = asyncio.create_task(self._renew(), name="lease")
        try:
            yield
        finally:
            await stop(renewal)
            with suppress(StoreUnavailableError):
                await self._redis.run(RELEASE, [self._name], [self._holder])

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(SECONDS / 3)
            with suppress(StoreUnavailableError):
                args: list[bytes | str | int] = [self._holder, round(SECONDS * 1000)]
                await self._redis.run(RENEW, [self._name], args)
