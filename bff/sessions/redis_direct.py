"""A client of one Redis server that sends commands and reads their answers, and nothing else.

redis-py wraps each command in its retries and its telemetry. Nothing is retried here (see
`redis_node`) and nothing is measured there, and together they cost more than the command. What a
connection that failed, or whose answer nobody waited for, needs is done by the connection itself:
it disconnects. See also `redis_pool`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import hiredis
import redis.asyncio.client
from redis.asyncio import Redis
from redis.exceptions import ResponseError

# They are typed in part, and one of them wrongly.
Pipeline: Any = redis.asyncio.client.Pipeline
pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class DirectRedis(Redis):
    """redis-py's client, with its commands and answers. Errors are redis-py's."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command on a connection of the pool; return its answer."""
        client: Any = self
        pool = client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(_packed(args))
            return await client.parse_response(connection, args[0], **options)
        finally:
            await pool.release(connection)

    def pipeline(self, transaction: bool = False, shard_hint: str | None = None) -> Any:
        """Return what takes several commands, to be sent together: never a transaction."""
        client: Any = self
        return DirectPipeline(
            client.connection_pool, client.response_callbacks, transaction, shard_hint
        )


class DirectPipeline(Pipeline):  # type: ignore[misc]  # as above
    """Commands that are sent together, on one connection, and answered in order."""

    async def execute(self, raise_on_error: bool = False) -> list[Any]:
        """Send the commands; return answers and errors."""
        del raise_on_error
        queue: Any = self
        commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = queue.command_stack
        answers: list[Any] = []
        connection = await queue.connection_pool.get_connection()
        try:
            packed = b"".join([_packed(args) for args, _ in commands])
            await connection.send_packed_command(packed)
            for args, options in commands:
                try:
                    answers.append(await queue.parse_response(connection, args[0], **options))
                except ResponseError as error:
                    answers.append(error)
        finally:
            await queue.connection_pool.release(connection)
        return answers


def _packed(args: tuple[Any, ...]) -> bytes:
    """Return a command as Redis reads it; a name of two words is two arguments."""
    if " " in args[0]:
        args = (*args[0].split(), *args[1:])
    return pack(args)
