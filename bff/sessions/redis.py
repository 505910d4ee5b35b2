"""Redis, in whatever form it is run: a few verbs, short time-outs, one kind of error.

A command that is not answered in time raises StoreUnavailableError, and so does every other way of
getting no answer; clients reconnect by themselves when Redis is back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from redis.asyncio import ConnectionPool
from redis.asyncio import Redis as Server
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from bff.errors import StoreUnavailableError
from bff.sessions import redis_url
from bff.sessions.redis_cluster import Address, Cluster
from bff.sessions.redis_node import CONNECTIONS, SPARE, TIMEOUT, Client, Command, Found, Node

T = TypeVar("T")

PATIENCE = 1.5 * TIMEOUT
SENTINEL_TIMEOUT = 0.25


class Script:
    """A Lua script, called by its hash, and by its text where the server does not know it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Nodes(Protocol):
    """The servers that hold the keys. Errors are redis-py's."""

    clustered: bool

    @property
    def client(self) -> Client:
        """redis-py's client of a server."""
        ...

    async def call(self, name: str, command: Command, *, lasting: bool = False) -> Any:
        """Send a command about the key `name`."""
        ...

    def parts(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the keys in lists that one request can ask for."""
        ...

    async def get_all(self, keys: Sequence[str]) -> list[Found]:
        """Return the values of one of those lists."""
        ...

    async def ping(self) -> None:
        """Raise unless they answer."""
        ...

    async def clients(self) -> list[Client]:
        """Return the clients that together see every key."""
        ...

    async def listener(self) -> Client:
        """Return a client to subscribe with."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


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
        args: Sequence[bytes | str | int],
        *,
        lasting: bool = False,
    ) -> Any:
        """Run a script. All keys must be of one slot.

        What it writes is `lasting` if a replica shall have it before this returns, where there may
        be a failover and the replica is not too slow.
        """
        return await answered(self._run(script, keys, args, lasting=lasting))

    async def get(self, name: str) -> bytes | None:
        """GET."""
        found: bytes | None = await self._call(name, lambda client: client.get(name))
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
        found: bytes | None = await self._call(name, lambda client: client.getdel(name))
        return found

    async def put(self, name: str, value: bytes, seconds: float, *, fresh: bool = False) -> bool:
        """SET with a time to live in seconds; with `fresh`, only where there is none (NX)."""
        ttl = max(1, round(seconds * 1000))
        return bool(
            await self._call(name, lambda client: client.set(name, value, px=ttl, nx=fresh))
        )

    async def swap(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """SET with a time to live; the value there was before, if any."""
        ttl = max(1, round(seconds * 1000))
        found: bytes | None = await self._call(
            name, lambda client: client.set(name, value, px=ttl, get=True)
        )
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

    async def _call(self, name: str, command: Command) -> Any:
        return await answered(self._nodes.call(name, command))

    async def _run(
        self, script: Script, keys: Sequence[str], args: Sequence[Any], *, lasting: bool
    ) -> Any:
        try:
            return await self._nodes.call(
                keys[0],
                lambda client: client.evalsha(script.sha, len(keys), *keys, *args),
                lasting=lasting,
            )
        except NoScriptError:
            return await self._nodes.call(
                keys[0],
                lambda client: client.eval(script.source, len(keys), *keys, *args),
                lasting=lasting,
            )

    def _fetch_all(self) -> None:
        fetches, self._fetches = self._fetches, {}
        for names in self._nodes.parts(list(fetches)):
            task = asyncio.ensure_future(self._settle(names, fetches))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(
        self, names: list[str], fetches: dict[str, asyncio.Future[bytes | None]]
    ) -> None:
        try:
            found = await answered(self._nodes.get_all(names))
        except StoreUnavailableError as error:
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
        async with asyncio.timeout(PATIENCE):
            return await command
    except (RedisError, OSError) as error:
        raise _unavailable(error) from error


def connect(url: str) -> Redis:
    """Return a client for one of the URLs of BFF_REDIS_URL. Nothing is sent yet.

    Raises ValueError for a URL that names no server, or a parameter that there is not.
    """
    target = redis_url.parse(url)
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 15,
        "client_name": "bff",
        "max_connections": CONNECTIONS + SPARE,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **target.options,
    }
    if target.form == "cluster":

        def node(address: Address) -> Node:
            host, port = address
            return Node(_server(ConnectionPool(host=host, port=port, **options)), replicated=True)

        node(target.nodes[0])
        return Redis(Cluster(target.nodes, node))
    if target.form == "server":
        return Redis(Node(_server(ConnectionPool(**options))))
    build: Any = Sentinel  # it has no types
    sentinel = build(
        target.nodes,
        sentinel_kwargs={
            "socket_timeout": SENTINEL_TIMEOUT,
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            **target.sentinel_options,
        },
    )
    pools: Any = SentinelConnectionPool
    master = _server(pools(target.service, sentinel, **options))
    return Redis(Node(master, replicated=True, closers=[sentinel]))


def _server(pool: ConnectionPool) -> Client:
    try:
        pool.make_connection()
    except TypeError as error:
        raise ValueError("has a parameter that redis-py does not know") from error
    return Server.from_pool(pool)


def _unavailable(error: Exception) -> StoreUnavailableError:
    if isinstance(error, StoreUnavailableError):
        return error
    unavailable = StoreUnavailableError(type(error).__name__)
    unavailable.__cause__ = error
    return unavailable
