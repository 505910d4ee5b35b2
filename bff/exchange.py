"""One answer to a client, in as few writes as it can be: the head goes out with the first body.

uvicorn writes the head when it is told of it and the body after that: two writes, often two
packets, for an answer of any size. Here the head waits for what comes with it in the same turn of
the event loop; a stream whose first piece is not there yet is announced at the end of that turn.

Rules: as uvicorn's, and those of `answer_head`. Of a head that cannot be sent nothing is; a client
that does not read is waited for. Where a body ends with its connection, that is reset if the body
is cut short, since nothing else would tell.

Source: ASGI, HTTP connection scope; RFC 9112 section 9.6.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from bff.answer_head import Fields, encode_answer

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope
    from uvicorn.protocols.http.flow_control import FlowControl
    from uvicorn.server import ServerState

WHOLE = "whole"  # set in a request's state: all of its answer comes at once
BYTES = (
    "bytes"  # there too: what the client sent, where that is a head of HTTP/1.1 and nothing else
)


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
            self._begin(message["status"], message.get("headers", ()))
            if WHOLE not in self.scope.get("state", ()):
                self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        elif self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"{kind} cannot come at this point of an answer")
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, status: int, headers: Fields) -> None:
        scope = self.scope
        head = encode_answer(
            status,
            self.default_headers,
            headers,
            head_only=scope["method"] == "HEAD",
            knows_chunks=scope["http_version"] != "1.0",
            keep_alive=self.keep_alive,
        )
        self._head = head.encoded
        self._until_closed = head.until_closed
        self.keep_alive = head.keep_alive
        self.chunked_encoding = head.chunked
        self.expected_content_length = head.length or 0
        if head.until_closed:
            self._reset_at_close(True)
        self.response_started = True
        self.waiting_for_100_continue = False

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

    def _close(self) -> None:
        if self._until_closed:
            self._reset_at_close(False)
        self.transport.close()

    def _reset_at_close(self, reset: bool) -> None:
        """Say how the connection would end now: by a reset, or in order."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))


class Line(Protocol):
    """A connection from a client, to one who carries its requests."""

    client: tuple[str, int] | None
    server_state: ServerState

    @property
    def reads(self) -> bool:
        """Whether the client takes what it is sent."""
        ...

    def answered(self, answer: bytes) -> None:
        """Send the whole answer to the request that was taken."""

    def hand_over(self, data: bytes, app: Any) -> Exchange:
        """Read the request that was taken; `app`, an ASGI application, goes on with it."""
        ...


class Flight(Protocol):
    """A request that was taken, and is not answered yet."""

    def land(self) -> None:
        """Hand the request over to the ordinary way, where it is."""

    def drop(self) -> None:
        """Give the request up: its client has left."""


class Shortcut(Protocol):
    """What an application may have, as `express`: a quicker way for requests that it knows."""

    def __call__(self, line: Line, data: bytes) -> Flight | None:
        """Take what a client sent, where that is a whole request; None leaves it to ASGI."""
        ...
