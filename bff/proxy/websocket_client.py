"""The WebSocket handshake with an upstream, over a connection of its own.

Rules: the request target goes out as it is given; no proxy variables, no redirects; TLS is
verified; one deadline bounds all of it. An answer other than 101 is read whole, as far as a refusal
may be long, and given to the caller. Bytes that came behind a 101 are frames already.

Source: RFC 6455 section 4.1; RFC 9112 section 6.3.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from typing import NamedTuple, cast

import httptools

from bff.proxy.headers import Headers
from bff.proxy.websocket_handshake import Agreement, Offer, encode_handshake, judge_agreement
from bff.proxy.wire import (
    Address,
    Framing,
    UpstreamConnectTimeoutError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
    judge_head,
)

MAX_HEAD = 65_536
MAX_REFUSAL = 65_536
_SWITCHING = 101
_FIRST_FINAL = 200
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class UpstreamSocket(NamedTuple):
    """An open WebSocket whose transport waits, unread, for the protocol that takes it over."""

    transport: asyncio.Transport
    agreement: Agreement
    early: bytes


class RefusedError(Exception):
    """The upstream answered the handshake with another status than 101."""

    def __init__(self, status: int, fields: Headers, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.fields = fields
        self.body = body


async def connect(
    address: Address,
    target: bytes,
    fields: Headers,
    offer: Offer,
    *,
    timeout: float,  # noqa: ASYNC109 - bounds several steps together
    connect_timeout: float,
    tls: ssl.SSLContext | None = None,
) -> UpstreamSocket:
    """Return an open WebSocket. `tls` is for an address of https.

    `fields` are those of the handshake, but for the protocol's own; their `Host` becomes that of
    the address.

    Raises RefusedError, UpstreamUnavailableError, UpstreamTimeoutError or UpstreamProtocolError.
    """
    key = base64.b64encode(os.urandom(16))
    fields = [(name, address.authority if name == b"host" else value) for name, value in fields]
    request = encode_handshake(target, fields, offer, key)
    loop = asyncio.get_running_loop()
    handshake = _Handshake(offer, key, loop.create_future())
    try:
        async with asyncio.timeout(timeout):
            async with asyncio.timeout(connect_timeout):
                transport, _ = await loop.create_connection(
                    lambda: handshake,
                    address.host,
                    address.port,
                    ssl=tls,
                    server_hostname=None if tls is None else address.host,
                )
            transport.write(request)
            agreement = await handshake.answered
    except BaseException as error:
        begun = handshake.transport is not None
        if handshake.transport is not None:
            handshake.transport.abort()
        if isinstance(error, TimeoutError) and begun:
            raise UpstreamTimeoutError(f"no handshake within {timeout:g} s") from None
        if isinstance(error, TimeoutError):
            raise UpstreamConnectTimeoutError(
                f"no connection within {connect_timeout:g} s"
            ) from None
        if isinstance(error, OSError | ValueError):
            raise UpstreamUnreachableError(f"no connection: {type(error).__name__}") from None
        raise
    return UpstreamSocket(transport, agreement, handshake.early)


class _Handshake(asyncio.Protocol):
    """Reads the answer to one handshake. A callback of the parser that raises ends its work."""

    def __init__(self, offer: Offer, key: bytes, answered: asyncio.Future[Agreement]) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._offer = offer
        self._key = key
        self._fields: Headers = []
        self._framing: Framing | None = None
        self._body = bytearray()
        self._size = 0
        self._agreement: Agreement | None = None
        self._fault: UpstreamProtocolError | None = None
        self.answered = answered
        self.early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.early = data[upgrade.args[0] :]
            self._switched()
        except httptools.HttpParserError as error:
            self._fail(self._fault or UpstreamProtocolError(f"not HTTP/1.1: {error}"))
        if self._framing is None and self._size > MAX_HEAD:
            self._fail(UpstreamProtocolError("the head is too long"))

    def eof_received(self) -> None:
        if self._framing is Framing.CLOSE:
            self._refused()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._fail(UpstreamUnavailableError("the connection was lost during the handshake"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head."""
        if self._framing is None:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Judge the head."""
        status = self._parser.get_status_code()
        try:
            if status == _SWITCHING:
                self._agreement = judge_agreement(self._fields, self._offer, self._key)
            elif status >= _FIRST_FINAL:
                framing = [field for field in self._fields if field[0] in _FRAMING]
                version = self._parser.get_http_version()
                self._framing = judge_head(b"GET", status, version, framing)
        except UpstreamProtocolError as error:
            self._fault = error
            raise

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a refusal."""
        self._body += body
        if len(self._body) > MAX_REFUSAL:
            self._fault = UpstreamProtocolError("the refusal is too long")
            raise self._fault

    def on_message_complete(self) -> None:
        """Give the refusal away; go on to the next answer after an interim one."""
        if self._framing is not None:
            self._refused()
        elif self._agreement is None:
            self._fields.clear()

    def _switched(self) -> None:
        if self._agreement is None:
            self._fail(UpstreamProtocolError("the upstream switches protocols unasked"))
        elif not self.answered.done() and self.transport is not None:
            self.transport.pause_reading()
            self.answered.set_result(self._agreement)

    def _refused(self) -> None:
        if not self.answered.done():
            status = self._parser.get_status_code()
            self.answered.set_exception(RefusedError(status, self._fields, bytes(self._body)))

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
