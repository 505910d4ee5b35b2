"""Connections to the provider for what comes with every sign-in: codes, tokens, userinfo.

The pool of connections is that of upstreams (`bff.proxy.upstream`): strict in framing, and a
fraction of what a general client costs. TLS is verified and named, and shows our certificate where
we have one (RFC 8705). What goes wrong has the name that httpx2 has for it, so that the log says
the same of both ways to the provider.

Source: RFC 9110 sections 6.4 and 8.4, RFC 9112 section 6.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import httpx2

from bff.proxy.response import UpstreamResponse
from bff.proxy.upstream import UpstreamPool
from bff.proxy.wire import (
    Address,
    RequestHead,
    UpstreamConnectTimeoutError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

MAX_BODY = 1_048_576
CONNECT = 3.0
SILENCE = 5.0
# Enough that a wave of refreshes, each of them slow, has not to wait for its turn.
CONNECTIONS = 512
IDLE = 64
HIGHEST_PORT = 65_535


class TooLargeError(httpx2.TransportError):
    """The answer is larger than anything a provider has reason to send, or it is compressed."""


class Answer(NamedTuple):
    """An answer of the provider. Names of fields are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """The connections to all endpoints of one provider."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._tls = tls
        self._pools: dict[Address, UpstreamPool] = {}

    async def answer(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Send a request; return the whole answer.

        Raises an error of httpx2 where there is none, and ValueError for what cannot be sent.
        """
        address, target, host = _place(url)
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._pool(address)
        headers = [(b"host", host)]
        headers += [(name.encode(), value.encode("ascii")) for name, value in fields.items()]
        try:
            response = await pool.send(
                RequestHead(method.encode(), target, headers), body, timeout=SILENCE
            )
            return await _whole(response)
        except UpstreamError as error:
            raise _named(error) from None

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, address: Address) -> UpstreamPool:
        return UpstreamPool(
            address,
            max_connections=CONNECTIONS,
            max_idle=IDLE,
            connect_timeout=CONNECT,
            ssl_context=self._tls if address.scheme == "https" else None,
        )


async def _whole(response: UpstreamResponse) -> Answer:
    fields = _joined(response.headers)
    try:
        if fields.get("content-encoding", "identity").lower() != "identity":
            raise TooLargeError("compressed")
        content = b""
        if response.complete:
            content = response.rest()
        else:
            pieces = bytearray()
            while len(pieces) <= MAX_BODY and (piece := await response.read()):
                pieces += piece
            content = bytes(pieces)
        if len(content) > MAX_BODY:
            raise TooLargeError("too large")
    finally:
        await response.aclose()
    return Answer(response.status, fields, content)


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields by name; those that came more than once as one list (RFC 9110 5.2)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


@lru_cache(maxsize=256)
def _place(url: str) -> tuple[Address, bytes, bytes]:
    """Return where a URL leads, the request target there, and the `Host` field."""
    found = httpx2.URL(url)
    default = {"http": 80, "https": 443}.get(found.scheme)
    port = default if found.port is None else found.port
    if default is None or port is None or not 0 < port <= HIGHEST_PORT or not found.raw_host:
        raise httpx2.UnsupportedProtocol("no address of HTTP")
    scheme: Literal["http", "https"] = "https" if found.scheme == "https" else "http"
    address = Address(scheme, found.raw_host.decode("ascii"), port)
    return address, found.raw_path, address.authority


def _named(error: UpstreamError) -> httpx2.TransportError:
    if isinstance(error, UpstreamUnreachableError):
        return httpx2.ConnectError("")
    if isinstance(error, UpstreamConnectTimeoutError):
        return httpx2.ConnectTimeout("")
    if isinstance(error, UpstreamTimeoutError):
        return httpx2.ReadTimeout("")
    return httpx2.RemoteProtocolError("")
