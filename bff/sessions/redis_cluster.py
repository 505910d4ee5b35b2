"""Redis Cluster: which node has a key, and how commands follow the keys when they move.

redis-py's own cluster client closes every connection whenever it reads the map of slots anew, so
that one dead or moved node disturbs the commands to all others, and it sends ASKING on another
connection than the command that needs it. So there is one `Node` a server here, each with its own
connections and its own troubles, and a map of slots:

- MOVED corrects the map and the command goes on to the new owner; ASK sends it on once, with
  ASKING before it on the same connection; TRYAGAIN (the keys of a script are on both sides of a
  move) waits a moment. None of these has been carried out yet, so sending it again is safe.
- A node that does not answer, or says that the cluster is down, is an error to whoever asked, and
  a reason to read the map again: one reader at a time, and not too often.

The map is asked of any node that is known, or else of those in the configuration (Redis Cluster
specification: "Redirection and resharding").
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.deadline import Deadline
from bff.sessions.redis_link import Command
from bff.sessions.redis_node import PATIENCE, TIMEOUT, Client, Found, Node

Address = tuple[str, int]

REDIRECTIONS = 8
TRY_AGAIN_AFTER = 0.01
ASK_FOR = 0.3
REFRESH_EVERY = 0.1

log = structlog.get_logger("bff.redis")


class Cluster:
    """The nodes of a Redis Cluster. Errors are redis-py's."""

    clustered = True

    def __init__(self, seeds: Sequence[Address], connect: Callable[[Address], Node]) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._nodes: dict[Address, Node] = {}
        self._known: list[Address] = []
        self._owners: dict[int, Address] = {}
        self._reading: asyncio.Task[None] | None = None
        self._read_again_at = float("-inf")
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def client(self) -> Client:
        """The client of one of the nodes."""
        return self._node(random.choice(self._primaries() or self._seeds)).client  # noqa: S311

    async def call(self, name: str, command: Command, *, lasting: bool = False) -> Any:
        """Send a command about the key `name` to the node that has it."""
        with Deadline(PATIENCE):
            return await self._call(name, command, lasting=lasting)

    async def _call(self, name: str, command: Command, *, lasting: bool) -> Any:
        slot = key_slot(name.encode())
        address = await self._owner(slot)
        asking = False
        redirections = 0
        while redirections <= REDIRECTIONS:
            try:
                return await self._node(address).ask(command, asking=asking, lasting=lasting)
            except MovedError as error:
                address = self._owners[slot] = _address(error, address)
                asking = False
                redirections += 1
                self._read_soon()
            except AskError as error:
                address, asking = _address(error, address), True
                redirections += 1
            except TryAgainError:
                await asyncio.sleep(TRY_AGAIN_AFTER)
                address, asking = self._owners.get(slot, address), False
            except (RedisError, OSError) as error:
                if _troubled(error):
                    self._read_soon()
                raise
        raise ClusterError("redirected too often")

    async def call_all(
        self, calls: Sequence[tuple[str, Command]], *, lasting: bool = False
    ) -> list[Any]:
        """Send commands about several keys together; return answers and errors."""
        commands = dict(enumerate(calls))
        parts: dict[Address | None, list[int]] = {}
        for number, (name, _) in commands.items():
            parts.setdefault(self._owners.get(key_slot(name.encode())), []).append(number)
        answers: dict[int, Any] = {}

        async def call_part(address: Address | None, numbers: list[int]) -> None:
            part = [commands[number] for number in numbers]
            found = await self._call_part(address, part, lasting=lasting)
            answers.update(zip(numbers, found, strict=True))

        with Deadline(PATIENCE):
            await asyncio.gather(*(call_part(*part) for part in parts.items()))
        return [answers[number] for number in commands]

    def parts(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the keys in lists that one request can ask for: those of one node together."""
        parts: dict[Address | None, list[str]] = {}
        for key in keys:
            parts.setdefault(self._owners.get(key_slot(key.encode())), []).append(key)
        return list(parts.values())

    async def get_all(self, keys: Sequence[str]) -> list[Found]:
        """Return the values of several keys: of one of the lists that `parts` gave."""
        return await self.call_all([(key, ("GET", key)) for key in keys])

    async def ping(self) -> None:
        """Raise unless a node answers, and says that the cluster works."""
        for address in self._candidates():
            try:
                with Deadline(ASK_FOR):
                    facts = await self._node(address).ask(("CLUSTER", "INFO"))
            except (RedisError, OSError):
                continue
            if b"cluster_state:ok" not in facts:
                raise ClusterDownError("the cluster is down")
            return
        raise RedisConnectionError("no node answers")

    async def clients(self) -> list[Client]:
        """Return the clients that together see every key."""
        await self._owner(0)
        return [self._node(address).client for address in self._primaries()]

    async def listener(self) -> Client:
        """Return a client to subscribe with: messages reach every node, so any will do."""
        await self._owner(0)
        return self.client

    async def aclose(self) -> None:
        """Close every connection."""
        tasks = [*self._leaving, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        nodes, self._nodes = self._nodes, {}
        await asyncio.gather(*(node.aclose() for node in nodes.values()), return_exceptions=True)

    async def _call_part(
        self, address: Address | None, calls: Sequence[tuple[str, Command]], *, lasting: bool
    ) -> list[Any]:
        """Send commands to the node that has all their keys, and those on that have moved."""
        answers: list[Any] = [None] * len(calls)
        follow = list(range(len(calls)))
        if address is not None and len(calls) > 1:
            try:
                answers = await self._node(address).ask_all(
                    [command for _, command in calls], lasting=lasting
                )
            except (RedisError, OSError) as error:
                answers = [error] * len(calls)
            if any(_troubled(answer) for answer in answers if isinstance(answer, Exception)):
                self._read_soon()
            follow = [at for at in follow if isinstance(answers[at], AskError | TryAgainError)]
        followed = await asyncio.gather(
            *(self._call(*calls[at], lasting=lasting) for at in follow), return_exceptions=True
        )
        for at, answer in zip(follow, followed, strict=True):
            answers[at] = answer
        return answers

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._connect(address)
        return node

    def _primaries(self) -> list[Address]:
        return list(set(self._owners.values()))

    async def _owner(self, slot: int) -> Address:
        if slot not in self._owners:
            await asyncio.shield(self._read())
        address = self._owners.get(slot)
        if address is None:
            raise ClusterDownError("nobody has this slot")
        return address

    def _read_soon(self) -> None:
        if asyncio.get_running_loop().time() >= self._read_again_at:
            self._read()

    def _read(self) -> asyncio.Task[None]:
        """Read the map of slots; those who ask for it meanwhile share one reading."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_map(), name="redis-map")
            self._reading.add_done_callback(_noted)
        return self._reading

    def _candidates(self) -> list[Address]:
        """Return whom to ask about the cluster, in any order: one may be frozen or cut off."""
        known = list(dict.fromkeys([*self._known, *self._seeds]))
        random.shuffle(known)
        return known

    async def _read_map(self) -> None:
        try:
            for address in self._candidates():
                try:
                    with Deadline(ASK_FOR):
                        answer = await self._node(address).ask(("CLUSTER", "SLOTS"))
                except (RedisError, OSError) as error:
                    log.debug("redis.map_not_read", reason=type(error).__name__)
                    continue
                if answer:
                    self._take(answer, address)
                    return
            raise RedisConnectionError("no node gives the map of slots")
        finally:
            self._read_again_at = asyncio.get_running_loop().time() + REFRESH_EVERY

    def _take(self, answer: list[Any], teller: Address) -> None:
        """Believe an answer to CLUSTER SLOTS: first slot, last slot, primary, replicas."""
        owners: dict[int, Address] = {}
        known: set[Address] = set()
        for first, last, *nodes in answer:
            addresses = [(_host(node[0], teller), int(node[1])) for node in nodes]
            known.update(addresses)
            owners.update(dict.fromkeys(range(int(first), int(last) + 1), addresses[0]))
        self._owners, self._known = owners, list(known)
        for address in self._nodes.keys() - known - set(self._seeds):
            task = asyncio.create_task(_close_later(self._nodes.pop(address)), name="redis-leave")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _close_later(node: Node) -> None:
    """Close a node that has left the cluster, once nobody can be waiting for it."""
    try:
        await asyncio.sleep(2 * TIMEOUT)
    finally:
        await node.aclose()


def _noted(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _troubled(error: Exception) -> bool:
    """Whether the map may be wrong: nobody answers there, or not as a primary that works."""
    return isinstance(error, RedisConnectionError | ClusterDownError | TimeoutError | OSError) or (
        "READONLY" in str(error)
    )


def _host(named: object, teller: Address) -> str:
    """Return a host as named in the map; one without a name is the one who told us."""
    host = named.decode() if isinstance(named, bytes) else named
    return host if isinstance(host, str) and host not in {"", "?"} else teller[0]


def _address(error: AskError, asked: Address) -> Address:
    host, _, port = str(error).rpartition(" ")[2].rpartition(":")
    return (host or asked[0], int(port))
