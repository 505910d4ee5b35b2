"""The login rate limit: so many a client address, counted in Redis over all workers."""

from __future__ import annotations

from typing import Any

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from bff.errors import Code, Problem
from bff.sessions.names import digest
from bff.sessions.redis import Redis, answered


class SharedRedisStorage(RedisStorage):
    """The library's storage, on the connections that the service has already."""

    def __init__(self, redis: Redis) -> None:
        self._client = redis.client
        super().__init__("redis://", implementation="redispy", key_prefix="bff:rate")

    def configure_bridge(self) -> None:
        """Hand our client to the library instead of an address."""
        bridge: Any = self.bridge
        bridge.storage = self._client

        def same_client(readonly: bool) -> Any:
            del readonly
            return self._client

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
        if not await answered(self._limiter.hit(self._item, who)):
            seconds = str(self._item.get_expiry())
            raise Problem(Code.RATE_LIMITED, "login_rate", headers=(("Retry-After", seconds),))
