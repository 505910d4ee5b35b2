"""One Redis server, or the master that Sentinel names: so many commands at once, none tried twice.

Nothing is retried here: whoever waits is better served by a clear error within two seconds, and a
command that was sent may have been carried out. Every command has its deadline (see `redis_links`).
After a failure the idle connections are closed too, because what cut one has likely cut them all;
new ones are made when they are needed.

Where a failover may come (Sentinel, Cluster), a write that must not be forgotten waits for a
replica to have it: replication is asynchronous, and a master that dies takes with it what it alone
knows. A master is asked now and then whether it has a replica, so that none is waited for in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bff.deadline import Deadline
from bff.sessions.redis_link import Command, packed
from bff.sessions.redis_links import Links

Client = Any  # redis-py's commands are typed for sync and async at once
Found = bytes | None | Exception

TIMEOUT = 1.0
PATIENCE = 1.5 * TIMEOUT
CONNECTIONS = 64
SPARE = 8  # beside those of commands: the subscription, and those that are being replaced
REPLICA_PATIENCE = 0.1
ASK_AGAIN_AFTER = 30.0

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
        pool = client.connection_pool
        self._links = Links(pool, max(1, pool.max_connections - SPARE))
        pool.on_move = self._links.close_idle
        self._has_replica: bool | None = None
        self._ask_again_at = float("-inf")

    async def ask_all(
        self, commands: Sequence[Command], *, asking: bool = False, lasting: bool = False
    ) -> list[Any]:
        """Send several commands together, on one connection; return answers and errors.

        With `asking` it is one for a slot that is being moved here; with `lasting` a replica has it
        too when this returns, if there is one that is not too slow.
        """
        if asking or (lasting and self._replicated):
            with Deadline(PATIENCE):
                return await self._ask_with_more(commands, asking=asking, lasting=lasting)
        try:
            answers = await self._links.ask(packed(commands), len(commands), TIMEOUT, PATIENCE)
        except (RedisError, OSError) as error:
            self._note(error)
            raise
        for answer in answers:
            if isinstance(answer, Exception):
                self._note(answer)
        return answers

    async def ask(self, command: Command, *, asking: bool = False, lasting: bool = False) -> Any:
        """Send a command, as `ask_all` does; return its answer."""
        (answer,) = await self.ask_all((command,), asking=asking, lasting=lasting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(self, name: str, command: Command, *, lasting: bool = False) -> Any:
        """Send a command about the key `name`."""
        del name
        (answer,) = await self.ask_all((command,), lasting=lasting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call_all(
        self, calls: Sequence[tuple[str, Command]], *, lasting: bool = False
    ) -> list[Any]:
        """Send commands about several keys together; return answers and errors."""
        return await self.ask_all([command for _, command in calls], lasting=lasting)

    def parts(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the keys in lists that one request can ask for."""
        return [list(keys)]

    async def get_all(self, keys: Sequence[str]) -> list[Found]:
        """Return the values of several keys: of one of the lists that `parts` gave."""
        found: list[Found] = await self.ask(("MGET", *keys))
        return found

    async def ping(self) -> None:
        """Raise unless the server answers."""
        await self.ask(("PING",))

    async def clients(self) -> list[Client]:
        """Return the clients that together see every key."""
        return [self.client]

    async def listener(self) -> Client:
        """Return a client to subscribe with."""
        return self.client

    async def aclose(self) -> None:
        """Close every connection."""
        await self._links.aclose()
        for closable in (self.client, *self._closers):
            await closable.aclose()

    async def _ask_with_more(
        self, commands: Sequence[Command], *, asking: bool, lasting: bool
    ) -> list[Any]:
        lasting = lasting and self._replicated and await self._replica_expected()
        before: list[Command] = [("ASKING",)] if asking else []
        after: list[Command] = []
        if lasting:
            after = [("WAIT", 1, round(REPLICA_PATIENCE * 1000))]
        answers = await self.ask_all([*before, *commands, *after])
        if lasting:
            self._note_replicas(answers.pop(), len(commands))
        return answers[1:] if asking else answers

    async def _replica_expected(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._ask_again_at:
            self._ask_again_at = now + ASK_AGAIN_AFTER
            before, self._has_replica = self._has_replica, await self._replica_named()
            if before is not False and not self._has_replica:
                log.warning("redis.no_replica", advice="a failover would lose sessions")
        return bool(self._has_replica)

    async def _replica_named(self) -> bool:
        try:
            role = await self.ask(("ROLE",))
        except ResponseError as error:  # it may be forbidden to us
            log.debug("redis.role_not_told", reason=type(error).__name__)
            return False
        return role[0] == b"master" and bool(role[2])

    def _note_replicas(self, number: object, writes: int) -> None:
        if number == 0 or isinstance(number, Exception):
            log.warning("redis.not_replicated", writes=writes, seconds=REPLICA_PATIENCE)
            self._ask_again_at = float("-inf")

    def _note(self, error: Exception) -> None:
        """Close what may be dead, or lead to a server that was a master when we connected."""
        lost = isinstance(error, RedisConnectionError | RedisTimeoutError | OSError)
        if lost or isinstance(error, ReadOnlyError) or "READONLY" in str(error):
            self._links.close_idle()
