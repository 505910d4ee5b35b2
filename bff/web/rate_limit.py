"""The login rate limit: so many a client address, counted in Redis over all workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from bff.errors import Code, Problem
from bff.sessions.names import digest
from bff.sessions.redis import Redis, Script

Run = Callable[[Sequence[str], Sequence[str | int]], Awaitable[Any]]


class Scripts:
    """As much of a Redis client as the library needs: it counts by scripts alone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def register_script(self, source: bytes | str) -> Run:
        """Return a function that runs a script with keys and arguments."""
        script = Script(source.decode() if isinstance(source, bytes) else source)

        def run(keys: Sequence[str], args: Sequence[str | int]) -> Awaitable[Any]:
            return self._redis.run(script, keys, args)

        return run


class SharedRedisStorage(RedisStorage):
    """The library's storage, on the connections that the service has already."""

    def __init__(self, redis: Redis) -> None:
        self._scripts = Scripts(redis)
        super().__init__("redis://", implementation="redispy", key_prefix="bff:rate")

    def configure_bridge(self) -> None:
        """Hand our scripts to the library instead of an address."""
        bridge: Any = self.bridge

        def same_client(readonly: bool = False) -> Any:
            del readonly
            return self._scripts

        bridge.connection_getter = same_client


class LoginRateLimit:
    """Counts logins; the sliding window keeps two numbers a client, however many logins."""

    def __init__(self, redis: Redis, limit: str) -> None:
        self._item = parse(limit) if limit else None
        self._limiter = SlidingWindowCounterRateLimiter(SharedRedisStorage(redis))

    async def check(self, client: str) -> None:
        """Raise rate_limited where this address has begun too many logins."""
        if self._item is None:
            return
        who = digest("client", client)
        if not await self._limiter.hit(self._item, who):
            seconds = str(self._item.get_expiry())
            raise Problem(Code.RATE_LIMITED, "login_rate", headers=(("Retry-After", seconds),))
