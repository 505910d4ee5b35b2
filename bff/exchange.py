"""One answer to a client, in as few writes as it can be: the head goes out with the first body.

uvicorn writes the head when it is told of it and the body after that: two writes, often two
packets, for an answer of any size. Here the head waits for what comes with it in the same turn of
the event loop; a stream whose first piece is not there yet is announced at the end of that turn.

Rules: as uvicorn's. A field name that is none, or a control character in a value, is an error of
the application and nothing is sent; a body is exactly as long as its `Content-Length`, or chunked
where there is none; HEAD, 204 and 304 have no body; a client that does not read is waited for. A
client of HTTP/1.0 knows no chunks: a body without length ends with its connection, which is reset
where the body is cut short, since nothing else would tell.

Source: ASGI, HTTP connection scope; RFC 9110 sections 5.5, 6.4 and 8.6; RFC 9112 sections 6, 7.1
and 9.6.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from bff.memo import Memo

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope
    from uvicorn.protocols.http.flow_control import FlowControl

WHOLE = "whole"  # set in a request's state: all of its answer comes at once
_FRAMING = frozenset({b"content-length: ", b"transfer-encoding: ", b"connection: "})
_BODILESS = frozenset({204, 304})
_LINE_END = b"\r\n"
_IN_VALUES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))  # noqa: PLR2004


class Exchange(RequestResponseCycle):
    """A request and its answer, made by the protocol of the connection they are on."""

    _head = b""
    _flushing: asyncio.Handle | None = None
    _until_closed = False

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(
        self,
        scope: HTTPScope,
        transport: asyncio.Transport,
        flow: FlowControl,
        logger: logging.Logger,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
        *,
        expects_continue: bool,
        keep_alive: bool,
    ) -> None:
        # Not by uvicorn's own: what is the same at every beginning is said once, by the class.
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.logger = logger
        self.default_headers = default_headers
        self.on_response = on_response
        self.waiting_for_100_continue = expects_continue
        self.keep_alive = keep_alive
        self.message_event = asyncio.Event()
        self.body = bytearray()

    async def send(self, message: Any) -> None:
        """Take a message of the ASGI application. Raises RuntimeError for one that cannot be."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"{kind} came before http.response.start")
            self._head = self._encode(message["status"], message.get("headers", ()))
            self.response_started = True
            self.waiting_for_100_continue = False
            if WHOLE not in self.scope.get("state", ()):
                self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        elif self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"{kind} cannot come at this point of an answer")
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        elif not self._until_closed:
            if len(body) > self.expected_content_length:
                raise RuntimeError("the answer is longer than its Content-Length")
            self.expected_content_length -= len(body)
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._head:
            body = self._head + body
            self._head = b""
        if body:
            self.transport.write(body)
        if not more:
            if self.expected_content_length:
                raise RuntimeError("the answer is shorter than its Content-Length")
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._close()
            self.on_response()

    def _flush(self) -> None:
        """Announce an answer whose body is not there yet."""
        self._flushing = None
        if self._head and not self.disconnected and not self.transport.is_closing():
            self.transport.write(self._head)
        self._head = b""

    def _encode(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        pieces = [STATUS_LINE[status]]
        lines = 1
        closes = False
        for fields in (self.default_headers, headers):
            for name, value in fields:
                prefix = _PREFIXES[name]
                pieces += (prefix, value, _LINE_END)
                lines += 1
                if prefix in _FRAMING:
                    closes = self._note_framing(prefix, value) or closes
        if (
            self.chunked_encoding is None
            and status not in _BODILESS
            and self.scope["method"] != "HEAD"
        ):
            if self.scope["http_version"] == "1.0":
                self.chunked_encoding = self.keep_alive = False
                self._until_closed = True
                self._reset_at_close(True)
            else:
                self.chunked_encoding = True
                pieces.append(b"transfer-encoding: chunked\r\n")
                lines += 1
        if not self.keep_alive and not closes:
            pieces.append(b"connection: close\r\n")
            lines += 1
        pieces.append(_LINE_END)
        head = b"".join(pieces)
        # What no value may hold is looked for once, in all of them: only our line ends are left.
        if head.translate(None, _IN_VALUES) != _LINE_END * (lines + 1):
            raise RuntimeError("a header value holds a control character")
        return head

    def _close(self) -> None:
        if self._until_closed:
            self._reset_at_close(False)
        self.transport.close()

    def _reset_at_close(self, reset: bool) -> None:
        """Say how the connection would end now: by a reset, or in order."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))

    def _note_framing(self, prefix: bytes, value: bytes) -> bool:
        """Note what a field says of framing; return whether the connection ends with it."""
        if prefix == b"content-length: ":
            if self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
        elif prefix == b"transfer-encoding: ":
            if value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
        elif b"close" in (token.strip().lower() for token in value.split(b",")):
            self.keep_alive = False
            return True
        return False


def _prefix(name: bytes) -> bytes:
    """Return how a line of this field begins. Raises RuntimeError for a name that is none."""
    if not name or HEADER_RE.search(name):
        raise RuntimeError("a header name is not a token")
    return name.lower() + b": "


_PREFIXES = Memo(_prefix)
