"""How Redis is reached: the four kinds of URL, short time-outs, one kind of error.

A command that cannot be answered in time raises StoreUnavailableError; nothing is retried here,
because a caller who waits is worth less than a clear 503 within two seconds. Clients reconnect by
themselves when Redis is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, RedisCluster
from redis.asyncio import Redis as StandaloneRedis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from bff.errors import StoreUnavailableError

T = TypeVar("T")
Client = Any  # redis-py's commands are typed for sync and async at once

TIMEOUT = 1.0
CONNECTIONS = 64


class Script:
    """A Lua script, loaded once a server and called by its hash."""

    def __init__(self, source: str) -> None:
        self.source = source


class Redis:
    """A Redis of any form. All methods raise StoreUnavailableError when it does not answer."""

    def __init__(self, client: Client, closers: Sequence[Client] = ()) -> None:
        self.client = client
        self._closers = closers
        self._scripts: dict[Script, AsyncScript] = {}
        self._fetches: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        clustered = isinstance(client, RedisCluster)
        self._many = client.mget_nonatomic if clustered else client.mget

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]
    ) -> Any:
        """Run a script. All keys must be of one slot."""
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self.client.register_script(script.source)
        return await answered(registered(keys=list(keys), args=list(args)))

    async def get(self, name: str) -> bytes | None:
        """GET."""
        found: bytes | None = await answered(self.client.get(name))
        return found

    async def fetch(self, name: str) -> bytes | None:
        """GET, together with every other fetch of this turn of the event loop: one MGET."""
        waiting = self._fetches.get(name)
        if waiting is None:
            loop = asyncio.get_running_loop()
            if not self._fetches:
                loop.call_soon(self._fetch_all)
            waiting = self._fetches[name] = loop.create_future()
        return await asyncio.shield(waiting)

    def _fetch_all(self) -> None:
        fetches, self._fetches = self._fetches, {}
        task = asyncio.ensure_future(self._answer(fetches))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, fetches: dict[str, asyncio.Future[bytes | None]]) -> None:
        wanted = list(fetches)
        try:
            found = await answered(self._many(wanted))
        except StoreUnavailableError as error:
            for waiting in fetches.values():
                waiting.set_exception(error)
                waiting.exception()  # noted here too, in case nobody waits any more
            return
        for name, value in zip(wanted, found, strict=True):
            fetches[name].set_result(value)

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """SCAN: the names that match, each at least once."""
        names = self.client.scan_iter(match=pattern, count=500)
        while (name := await answered(anext(names, None))) is not None:
            yield name.decode()

    async def take(self, name: str) -> bytes | None:
        """GETDEL: the value, for the one who comes first."""
        found: bytes | None = await answered(self.client.getdel(name))
        return found

    async def put(self, name: str, value: bytes, seconds: float, *, fresh: bool = False) -> bool:
        """SET with a time to live in seconds; with `fresh`, only where there is none (NX)."""
        ttl = max(1, round(seconds * 1000))
        return bool(await answered(self.client.set(name, value, px=ttl, nx=fresh)))

    async def swap(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """SET with a time to live; the value there was before, if any."""
        ttl = max(1, round(seconds * 1000))
        found: bytes | None = await answered(self.client.set(name, value, px=ttl, get=True))
        return found

    async def ping(self) -> None:
        """Raise StoreUnavailableError unless Redis answers."""
        await answered(self.client.ping())

    async def aclose(self) -> None:
        """Close every connection."""
        for closable in (self.client, *self._closers):
            await closable.aclose()


async def answered(command: Awaitable[T]) -> T:
    """Await a command; turn every way of getting no answer into StoreUnavailableError."""
    try:
        return await asyncio.wait_for(command, 1.5 * TIMEOUT)
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        raise StoreUnavailableError(type(error).__name__) from error


def connect(url: str) -> Redis:
    """Return a client for one of the URLs of BFF_REDIS_URL. Nothing is sent yet.

    Raises ValueError for a URL that names no server.
    """
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 15,
        "client_name": "bff",
        # With them on, as the library would have it, connections that a restart closed stay in use.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    scheme = url.partition("://")[0]
    if not scheme.endswith(("+sentinel", "+cluster")):
        pools: Any = BlockingConnectionPool
        pool = pools.from_url(url, max_connections=CONNECTIONS, timeout=TIMEOUT, **options)
        return Redis(StandaloneRedis.from_pool(pool))
    parts = urlsplit(url)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    options |= {"username": unquote(user) or None, "password": unquote(password) or None}
    options |= {"ssl": True} if scheme.startswith("rediss") else {}
    nodes = [_address(host) for host in hosts.split(",") if host]
    if not nodes:
        raise ValueError("names no server")
    if scheme.endswith("+cluster"):
        startup = [ClusterNode(host, port) for host, port in nodes]
        return Redis(RedisCluster(startup_nodes=startup, max_connections=CONNECTIONS, **options))
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("names no service: redis+sentinel://host:port/SERVICE")
    own = dict(parse_qsl(parts.query))
    build: Any = Sentinel  # it has no types
    sentinel = build(
        nodes,
        sentinel_kwargs={
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "password": own.get("sentinel_password"),
            "username": own.get("sentinel_username"),
        },
        **options,
    )
    master = sentinel.master_for(service, db=int(database or 0))
    return Redis(master, [*sentinel.sentinels])


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    name, port = (name, port) if name else (host, "26379")
    return name.strip("[]"), int(port or 26379)
