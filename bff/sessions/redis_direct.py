"""A client of one Redis server that sends a command and reads its answer, and nothing else.

redis-py wraps each command in its retries and its telemetry. Nothing is retried here (see
`redis_node`) and nothing is measured there, and together they cost more than the command. What a
connection that failed, or whose answer nobody waited for, needs is done by the connection itself:
it disconnects.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


class DirectRedis(Redis):
    """redis-py's client, with its commands, answers and pipelines. Errors are redis-py's."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command on a connection of the pool; return its answer."""
        client: Any = self  # redis-py's methods are typed in part
        connection = await client.connection_pool.get_connection()
        try:
            await connection.send_command(*args)
            return await client.parse_response(connection, args[0], **options)
        finally:
            await client.connection_pool.release(connection)
