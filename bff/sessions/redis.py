"""Redis, in whatever form it is run: a few verbs, short time-outs, one kind of error.

A command that is not answered in time raises StoreUnavailableError, and so does every other way of
getting no answer; clients reconnect by themselves when Redis is back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import InvalidResponse, NoScriptError, RedisError

from bff.deadline import Deadline
from bff.errors import StoreUnavailableError
from bff.sessions.redis_clients import Nodes, nodes_of
from bff.sessions.redis_link import Argument, Command
from bff.sessions.redis_node import PATIENCE, Client, Found

T = TypeVar("T")


class Script:
    """A Lua script, called by its hash, and by its text where the server does not know it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A script with its keys, which must be of one slot, and its arguments."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]


class Redis:
    """A Redis of any form. All methods raise StoreUnavailableError when it does not answer."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._fetches: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Future[None]] = set()

    @property
    def clustered(self) -> bool:
        """Whether keys, and messages between clients, are spread over several servers."""
        return self._nodes.clustered

    @property
    def client(self) -> Client:
        """redis-py's client of the server; of one of them in a Cluster."""
        return self._nodes.client

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        lasting: bool = False,
    ) -> Any:
        """Run a script. All keys must be of one slot.

        What it writes is `lasting` if a replica shall have it before this returns, where there may
        be a failover and the replica is not too slow.
        """
        name = keys[0]
        try:
            by_hash = _by_hash(script, keys, args)
            return await self._nodes.call(name, by_hash, lasting=lasting)
        except NoScriptError:
            by_text: Command = ("EVAL", script.source, len(keys), *keys, *args)
            return await self._call(name, by_text, lasting=lasting)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def run_all(
        self,
        script: Script,
        calls: Sequence[tuple[Sequence[str], Sequence[Argument]]],
        *,
        lasting: bool = False,
    ) -> list[Any]:
        """Run a script with several keys and arguments: many commands, sent together.

        When it raises, some of them may have been carried out.
        """
        return await self._run_together(
            [Call(script, keys, args) for keys, args in calls], lasting=lasting
        )

    async def run_in_order(
        self, steps: Sequence[Sequence[Call]], *, lasting: bool = False
    ) -> list[list[Any]]:
        """Run scripts step by step; what is in one step is in no order. Return the answers of each.

        One server carries out what it is sent in the order it comes, so it is sent all of them
        together. A script that is new to it comes late; then the last step, which must be one that
        only reads, is done again, so that it has seen all that went before. When it raises, some
        may have been carried out.
        """
        if self.clustered:
            return [await self._run_together(step, lasting=lasting) for step in steps]
        together = [call for step in steps for call in step]
        found = await self._call_all(together, lasting=lasting)
        if _faulty(found):
            late = any(_unknown(answer) for answer in found)
            await self._settle_all(together, found, lasting=lasting)
            if late:
                seen = len(found) - len(steps[-1])
                found[seen:] = await self._run_together(steps[-1], lasting=lasting)
        rest = iter(found)
        return [[next(rest) for _ in step] for step in steps]

    async def get(self, name: str) -> bytes | None:
        """GET."""
        found: bytes | None = await self._call(name, ("GET", name))
        return found

    async def fetch(self, name: str) -> bytes | None:
        """GET, together with every other fetch of this turn of the event loop."""
        waiting = self._fetches.get(name)
        if waiting is None:
            loop = asyncio.get_running_loop()
            if not self._fetches:
                loop.call_soon(self._fetch_all)
            waiting = self._fetches[name] = loop.create_future()
        return await asyncio.shield(waiting)

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """SCAN: the names that match, each at least once."""
        for client in await answered(self._nodes.clients()):
            names = client.scan_iter(match=pattern, count=500)
            while (name := await answered(anext(names, None))) is not None:
                yield name.decode()

    async def take(self, name: str) -> bytes | None:
        """GETDEL: the value, for the one who comes first."""
        found: bytes | None = await self._call(name, ("GETDEL", name))
        return found

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        """SET with a time to live in seconds."""
        ttl = max(1, round(seconds * 1000))
        await self._call(name, ("SET", name, value, "PX", ttl))

    async def swap(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """SET with a time to live; the value there was before, if any."""
        ttl = max(1, round(seconds * 1000))
        found: bytes | None = await self._call(name, ("SET", name, value, "PX", ttl, "GET"))
        return found

    async def ping(self) -> None:
        """Raise StoreUnavailableError unless Redis answers."""
        await answered(self._nodes.ping())

    async def info(self, section: str) -> dict[str, Any]:
        """INFO: what a server says of itself."""
        clients = await answered(self._nodes.clients())
        facts: dict[str, Any] = await answered(clients[0].info(section))
        return facts

    async def listener(self) -> Client:
        """Return redis-py's client of a server that hears every message."""
        return await answered(self._nodes.listener())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._nodes.aclose()

    async def _call(self, name: str, command: Command, *, lasting: bool = False) -> Any:
        try:
            return await self._nodes.call(name, command, lasting=lasting)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def _run_together(self, calls: Sequence[Call], *, lasting: bool) -> list[Any]:
        if not calls:
            return []
        found = await self._call_all(calls, lasting=lasting)
        if _faulty(found):
            await self._settle_all(calls, found, lasting=lasting)
        return found

    async def _call_all(self, calls: Sequence[Call], *, lasting: bool) -> list[Any]:
        commands = [(call.keys[0], _by_hash(*call)) for call in calls]
        try:
            return await self._nodes.call_all(commands, lasting=lasting)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def _settle_all(self, calls: Sequence[Call], found: list[Any], *, lasting: bool) -> None:
        """Do what was not: what was unknown is sent whole, in order. Raises any other fault."""
        for number, answer in enumerate(found):
            if _unknown(answer):
                found[number] = await self.run(*calls[number], lasting=lasting)
        for answer in found:
            if isinstance(answer, Exception):
                raise _unavailable(answer)

    def _fetch_all(self) -> None:
        fetches, self._fetches = self._fetches, {}
        for names in self._nodes.parts(list(fetches)):
            task = asyncio.ensure_future(self._settle(names, fetches))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(
        self, names: list[str], fetches: dict[str, asyncio.Future[bytes | None]]
    ) -> None:
        found: list[Found]
        try:
            found = await self._nodes.get_all(names)
            if len(found) != len(names):
                raise InvalidResponse("not as many values as names")
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            found = [error] * len(names)
        for name, value in zip(names, found, strict=True):
            waiting = fetches[name]
            if not isinstance(value, Exception):
                waiting.set_result(value)
                continue
            waiting.set_exception(_unavailable(value))
            waiting.exception()  # noted here too, in case nobody waits any more


async def answered(command: Awaitable[T]) -> T:
    """Await a command; turn every way of getting no answer into StoreUnavailableError."""
    try:
        with Deadline(PATIENCE):
            return await command
    except (RedisError, OSError) as error:
        raise _unavailable(error) from error


def connect(url: str) -> Redis:
    """Return a client for one of the URLs of BFF_REDIS_URL. Nothing is sent yet.

    Raises ValueError for a URL that names no server, or a parameter that there is not.
    """
    return Redis(nodes_of(url))


def _by_hash(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Command:
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


def _faulty(answers: list[Any]) -> bool:
    return True in [isinstance(answer, Exception) for answer in answers]


def _unknown(answer: object) -> bool:
    return isinstance(answer, NoScriptError)


def _unavailable(error: Exception) -> StoreUnavailableError:
    if isinstance(error, StoreUnavailableError):
        return error
    unavailable = StoreUnavailableError(type(error).__name__)
    unavailable.__cause__ = error
    return unavailable
