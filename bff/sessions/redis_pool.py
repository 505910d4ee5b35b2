"""Connections of a pool of redis-py, borrowed and given back without what nobody here listens to.

redis-py takes a lock, counts for telemetry and sends an event around each command, which cost more
than the command. Left is what matters: a connection is given out only if it is open and nothing
waits to be read on it, which would be the answer to somebody else's command.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError


class QuietPool:
    """Mixed into a pool of redis-py, before its own class."""

    async def get_connection(self, command_name: str | None = None, *_: Any, **__: Any) -> Any:
        """Return a connection that is open and at the same point as its server."""
        del command_name
        pool: Any = self
        connection = pool.get_available_connection()
        try:
            at_rest = False
            if connection.is_connected:
                with suppress(RedisConnectionError):
                    at_rest = not await connection.can_read()
            if not at_rest:
                await pool.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        pool: Any = self
        pool._in_use_connections.remove(connection)
        if connection.should_reconnect():
            await connection.disconnect()
        pool._available_connections.append(connection)


class ServerPool(QuietPool, ConnectionPool):
    """Connections to one server."""
