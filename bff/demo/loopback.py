"""Keeps the demo's servers to this machine.

A server bound to 127.0.0.1 can still be reached by a page of the internet whose name is made to
resolve to 127.0.0.1 (DNS rebinding). Such a request carries the page's name in `Host`, so every
request whose `Host` is no loopback name is refused, and so is every peer that is not loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# What uvicorn is told of a server of the demo's own.
SERVER_OPTIONS: Mapping[str, Any] = {
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "ws": "websockets-sansio",
    "timeout_graceful_shutdown": 2,
}
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback_authority(authority: str) -> bool:
    """Say whether a `Host` value (``host`` or ``host:port``) names this machine."""
    host, bracket, rest = authority.partition("]")
    if bracket:
        host, rest = host + bracket, rest.removeprefix(":")
    else:
        host, _, rest = authority.partition(":")
    return host.lower() in LOOPBACK_HOSTS and (not rest or (rest.isascii() and rest.isdigit()))


def is_loopback_origin(url: str) -> bool:
    """Say whether `url` is a bare ``http://host:port`` of this machine, without a final slash."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    bare = f"{parts.scheme}://{parts.netloc}" == url
    return bare and parts.scheme == "http" and is_loopback_authority(parts.netloc)


class LoopbackOnly:
    """ASGI middleware: 400 for a foreign `Host`, 403 for a peer beyond loopback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is local; answer the rest."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        status = _refusal(scope)
        if status is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            response = PlainTextResponse("This server answers this machine only.\n", status)
            await response(scope, receive, send)


def _refusal(scope: Scope) -> int | None:
    hosts = Headers(scope=scope).getlist("host")
    if len(hosts) != 1 or not is_loopback_authority(hosts[0]):
        return 400
    peer: tuple[str, int] | None = scope.get("client")
    if peer is None:
        return None
    try:
        return None if ip_address(peer[0]).is_loopback else 403
    except ValueError:
        return 403
