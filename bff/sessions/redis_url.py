"""What BFF_REDIS_URL says: one server, a service that Sentinel watches, or a Redis Cluster.

User and password may stand in the URL, percent-encoded; query parameters such as `ssl_ca_certs` are
redis-py's. Those of Sentinel itself are `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from redis.asyncio.connection import parse_url

Address = tuple[str, int]
Form = Literal["server", "sentinel", "cluster"]

PORT = 6379
SENTINEL_PORT = 26379
MALFORMED = "is malformed: percent-encode the password; host, port and parameters must be plain"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL, taken apart. `options` are keyword arguments of redis-py's connections."""

    form: Form
    options: dict[str, Any] = field(repr=False)
    nodes: tuple[Address, ...] = ()
    service: str = ""
    sentinel_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)


def parse(url: str) -> RedisUrl:
    """Take a URL apart. Raises ValueError for one that names no server."""
    scheme, _, kind = url.partition("://")[0].partition("+")
    if not kind:
        return RedisUrl("server", _options(url))
    # Several hosts, with brackets among them, are more than urlsplit takes for one.
    after = url.partition("://")[2]
    netloc = re.split("[/?#]", after, maxsplit=1)[0]
    parts = urlsplit(f"//host{after[len(netloc) :]}")
    userinfo, at, hosts = netloc.rpartition("@")
    options = _options(f"{scheme}://{userinfo}{at}host?{parts.query}")
    del options["host"]
    path = parts.path.strip("/")
    if kind == "cluster":
        if path not in {"", "0"}:
            raise ValueError("a cluster has no numbered databases")
        return RedisUrl("cluster", options, _addresses(hosts, PORT))
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("names no service: redis+sentinel://host:port/SERVICE")
    if not (database or "0").isdecimal():
        raise ValueError("the database must be a number: redis+sentinel://host:port/SERVICE/0")
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    own |= {name: value for name, value in options.items() if name.startswith("ssl")}
    options["db"] = int(database or 0)
    return RedisUrl("sentinel", options, _addresses(hosts, SENTINEL_PORT), service, own)


def _options(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))
    except ValueError:  # its text may quote a part of the password
        raise ValueError(MALFORMED) from None


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    found: list[Address] = []
    for host in filter(None, hosts.split(",")):
        parts = urlsplit(f"//{host}")
        try:
            port = parts.port
        except ValueError:
            raise ValueError(MALFORMED) from None
        if not parts.hostname:
            raise ValueError("names no server")
        found.append((parts.hostname, port or default_port))
    if not found:
        raise ValueError("names no server")
    return tuple(found)
