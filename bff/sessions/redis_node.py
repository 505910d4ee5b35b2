"""One Redis server, or the master that Sentinel names: so many commands at once, none tried twice.

Nothing is retried here: whoever waits is better served by a clear error within two seconds, and a
command that was sent may have been carried out. After a failure the idle connections are closed
too, because what cut one has likely cut them all; new ones are made when they are needed.

Where a failover may come (Sentinel, Cluster), a write that must not be forgotten waits for a
replica to have it: replication is asynchronous, and a master that dies takes with it what it alone
knows. A master without replicas is left to itself for a while after it has said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Client = Any  # redis-py's commands are typed for sync and async at once
Command = Callable[[Client], Any]
Found = bytes | None | Exception

TIMEOUT = 1.0
CONNECTIONS = 64
SPARE = 8  # beside those of commands: the subscription, and those that are being replaced
REPLICA_PATIENCE = 0.1
ALONE_FOR = 30.0

log = structlog.get_logger("bff.redis")


class Node:
    """A server and its connections. Errors are redis-py's."""

    clustered = False

    def __init__(
        self, client: Client, *, replicated: bool = False, closers: Sequence[Client] = ()
    ) -> None:
        self.client = client
        self._replicated = replicated
        self._closers = closers
        connections: int = client.connection_pool.max_connections
        self._turns = asyncio.Semaphore(max(1, connections - SPARE))
        self._alone_until = float("-inf")
        self._tidying: asyncio.Task[None] | None = None

    async def ask(self, command: Command, *, asking: bool = False, lasting: bool = False) -> Any:
        """Send a command that `command` gives to a client, and return its answer.

        With `asking` it is one for a slot that is being moved here; with `lasting` a replica has it
        too when this returns, if there is one that is not too slow.
        """
        async with self._turns:
            try:
                if asking or (lasting and self._replica_expected()):
                    return await self._in_company(command, asking, lasting)
                return await command(self.client)
            except (RedisConnectionError, RedisTimeoutError, OSError):
                self._tidy()
                raise
            except ResponseError as error:
                # A server that was a master when we connected: the name may lead elsewhere now.
                if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                    self._tidy()
                raise

    async def call(self, name: str, command: Command, *, lasting: bool = False) -> Any:
        """Send a command about the key `name`."""
        del name
        return await self.ask(command, lasting=lasting)

    def parts(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the keys in lists that one request can ask for."""
        return [list(keys)]

    async def get_all(self, keys: Sequence[str]) -> list[Found]:
        """Return the values of several keys: of one of the lists that `parts` gave."""
        found: list[Found] = await self.ask(lambda client: client.mget(keys))
        return found

    async def ping(self) -> None:
        """Raise unless the server answers."""
        await self.ask(lambda client: client.ping())

    async def clients(self) -> list[Client]:
        """Return the clients that together see every key."""
        return [self.client]

    async def listener(self) -> Client:
        """Return a client to subscribe with."""
        return self.client

    async def aclose(self) -> None:
        """Close every connection."""
        if self._tidying is not None:
            await asyncio.gather(self._tidying, return_exceptions=True)
        for closable in (self.client, *self._closers):
            await closable.aclose()

    def _replica_expected(self) -> bool:
        return self._replicated and asyncio.get_running_loop().time() >= self._alone_until

    async def _in_company(self, command: Command, asking: bool, lasting: bool) -> Any:
        """Send the command with ASKING before or WAIT after it, on one connection."""
        async with self.client.pipeline(transaction=False) as pipe:
            if asking:
                pipe.execute_command("ASKING")
            command(pipe)
            lasting = lasting and self._replica_expected()
            if lasting:
                pipe.execute_command("WAIT", 1, round(REPLICA_PATIENCE * 1000))
            answers = await pipe.execute(raise_on_error=False)
        answer = answers[1 if asking else 0]
        if isinstance(answer, Exception):
            raise answer
        if lasting and answers[-1] == 0:
            self._alone_until = asyncio.get_running_loop().time() + ALONE_FOR
            log.warning("store.not_replicated", seconds=REPLICA_PATIENCE)
        return answer

    def _tidy(self) -> None:
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.create_task(self._close_idle(), name="redis-tidy")

    async def _close_idle(self) -> None:
        pool = self.client.connection_pool
        try:
            await pool.update_active_connections_for_reconnect()
            await pool.disconnect(inuse_connections=False)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            log.debug("redis.tidy_failed", reason=type(error).__name__)
