"""The master that Sentinel names, as redis-py finds it, without two faults that a failover shows.

- redis-py moves the Sentinel that answered to the head of its list by an index it took before it
  asked. Where several connections are made at once, that doubles one Sentinel and forgets another,
  until one is left to depend on.
- When it hears of a new master it closes idle connections that somebody may be using again by the
  time they are closed; such a one is lost, open.

Each Sentinel has a deadline here, which unlike redis-py's own is none for a loop that was held up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.asyncio.sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bff.deadline import Deadline

# It has no types.
Sentinel: Any = redis.asyncio.sentinel.Sentinel
Pool: Any = redis.asyncio.sentinel.SentinelConnectionPool

ASK_FOR = 0.25  # seconds, each Sentinel


class Sentinels(Sentinel):  # type: ignore[misc]  # as above
    """The Sentinels that watch a service; the one that answered last is asked first."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the master. Raises MasterNotFoundError."""
        for sentinel in tuple(self.sentinels):
            try:
                with Deadline(ASK_FOR):
                    masters = await sentinel.sentinel_masters()
            except (RedisConnectionError, RedisTimeoutError, TimeoutError):
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                self.sentinels.remove(sentinel)
                self.sentinels.insert(0, sentinel)
                return state["ip"], state["port"]
        raise redis.asyncio.sentinel.MasterNotFoundError(f"no Sentinel names {service_name!r}")


class MasterPool(Pool):  # type: ignore[misc]  # as above
    """Connections to the master. `on_move` is called when Sentinel names another one."""

    on_move: Callable[[], None]

    def __init__(self, service: str, sentinels: Sentinels, **options: Any) -> None:
        Pool.__init__(self, service, sentinels, **options)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close connections, or those alone that are idle."""
        if inuse_connections:
            await Pool.disconnect(self)
            return
        self.on_move()
        (idle, _), _ = self.get_connection_count()
        # Nobody gets one of them meanwhile.
        for connection in [self.get_available_connection() for _ in range(idle)]:
            await connection.disconnect(nowait=True)
            await self.release(connection)
