"""From a URL to clients: one server, the master that Sentinel names, or the nodes of a Cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, SSLConnection
from redis.asyncio import Redis as RedisClient
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from bff.sessions import redis_url
from bff.sessions.redis_cluster import Address, Cluster
from bff.sessions.redis_link import Command
from bff.sessions.redis_node import CONNECTIONS, SPARE, Client, Found, Node
from bff.sessions.redis_sentinel import MasterPool, Sentinels
from bff.sessions.redis_tls import SharedContext, sharing


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

    async def call_all(
        self, calls: Sequence[tuple[str, Command]], *, lasting: bool = False
    ) -> list[Any]:
        """Send commands about several keys together; return answers and errors."""
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


def nodes_of(url: str) -> Nodes:
    """Return the servers of a URL. Nothing is sent yet.

    Raises ValueError for a URL that names no server, or a parameter that there is not.
    """
    target = redis_url.parse(url)
    options: dict[str, Any] = {
        "socket_timeout": None,  # every command has its deadline, in which it may connect
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 15,
        "client_name": "bff",
        "max_connections": CONNECTIONS + SPARE,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **target.options,
    }
    kind = options.get("connection_class")
    if target.form == "sentinel" and options.pop("ssl", False):
        kind = SentinelManagedSSLConnection
    if kind is not None and issubclass(kind, SSLConnection):
        options["connection_class"] = sharing(kind, SharedContext())
    if target.form == "cluster":

        def node(address: Address) -> Node:
            host, port = address
            return Node(_server(ConnectionPool(host=host, port=port, **options)), replicated=True)

        node(target.nodes[0])
        return Cluster(target.nodes, node)
    if target.form == "server":
        return Node(_server(ConnectionPool(**options)))
    sentinel = Sentinels(
        target.nodes,
        sentinel_kwargs={
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            **target.sentinel_options,
        },
    )
    master = _server(MasterPool(target.service, sentinel, **options))
    return Node(master, replicated=True, closers=[sentinel])


def _server(pool: Any) -> Client:
    try:
        pool.make_connection()
    except (TypeError, RedisError) as error:
        raise ValueError("has a parameter, or a value of one, that redis-py refuses") from error
    return RedisClient.from_pool(pool)
