"""One connection to an upstream: bytes out, bytes in, one exchange at a time.

Rules: an answer may come while the body is still being sent, and then stands; a connection is used
again only when both sides are provably at the same point, which a byte too many, a body not sent to
its end, or the upstream's own word (`Connection: close`) rules out; a byte that nobody asked for
closes it; nothing waits for ever, but no exchange has a timer of its own: the pool's sweep asks
each connection how long it has been still.

Flow: `start` writes the head and begins to send a streamed body in a task of its own; the future it
returns gives the response once its head is here; the body goes to the response's buffer. The end of
the answer hands the connection back to its owner before the reader has read it.

Source: RFC 9112 sections 7.1 (chunked), 9.3 (persistence), 9.5 to 9.8 (failures, closing).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, cast

from bff.proxy.answer_parser import AnswerParser
from bff.proxy.expectant import Exchange, Expectant
from bff.proxy.response import UpstreamResponse
from bff.proxy.wire import (
    ClientGoneError,
    RequestBodyError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamTruncatedError,
    UpstreamUnavailableError,
)

WRITE_HIGH_WATER = 65_536
A_MOMENT = 0.1  # seconds after which an exchange is watched for its client's leaving


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def released(self, connection: UpstreamConnection) -> None:
        """The exchange is over and the connection can carry another."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""


class UpstreamConnection(asyncio.Protocol):
    """A connection: idle, or carrying one exchange."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._parser = AnswerParser()
        self._sender: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._exchange: Exchange | None = None
        self._response: UpstreamResponse | None = None  # from the first byte of it
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether another exchange can begin."""
        return self._exchange is None and not self._transport.is_closing()

    def start(self, exchange: Exchange) -> asyncio.Future[UpstreamResponse]:
        """Send the request; the future gives the response when its head has come."""
        head: asyncio.Future[UpstreamResponse] = self._loop.create_future()
        self.start_for(head, exchange)
        return head

    def start_for(self, head: Expectant, exchange: Exchange) -> None:
        """Send the request; tell when the head of the answer has come."""
        self._exchange = exchange
        self._head = head
        self._reading_paused = self._awaiting_piece = False
        self._last = exchange.started
        exchange.answered = exchange.body_begun = False
        self._sent = exchange.body is None
        self._transport.write(exchange.head)
        if exchange.body is not None:
            self._sender = self._loop.create_task(self._send(exchange, exchange.body))

    def abandon(self, response: UpstreamResponse) -> None:
        """Give the exchange of this response up, if it is not over."""
        if self._response is response:
            self._fail(ClientGoneError("the answer is no longer wanted"))

    def give_up(self, exchange: Exchange) -> None:
        """Give this exchange up, if it is not over."""
        if self._exchange is exchange:
            self._fail(ClientGoneError("the answer is no longer wanted"))

    def close(self, error: Exception | None = None) -> None:
        """Close the connection at once, and fail what it carries."""
        self._fail(error or ClientGoneError("the connection is closed"))
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """End an exchange that has been still too long; watch one that lasts for its client."""
        exchange = self._exchange
        if exchange is None:
            return
        limit = exchange.timeout if self._awaits_head else exchange.silence
        if self._reading_paused:
            self._last = now
        elif now - self._last > limit:
            if self._awaiting_piece:
                self._fail(RequestBodyError("the request body stalled"))
            else:
                self._fail(UpstreamTimeoutError(f"nothing came from the upstream for {limit:g} s"))
            return
        lasts = now - exchange.started > A_MOMENT
        if lasts and exchange.gone is not None and self._watcher is None:
            self._watcher = self._loop.create_task(_wait(exchange.gone))
            self._watcher.add_done_callback(self._client_left)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def pause_writing(self) -> None:
        """Hold the request body back: the upstream does not keep up."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the request body go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; hand on the head, the body, or the fault."""
        exchange = self._exchange
        if exchange is None:
            self._transport.abort()
            return
        exchange.answered = True
        self._last = self._loop.time()
        response = self._response
        if response is None:
            if exchange.takes is not None and exchange.takes(data):
                self._exchange = None
                self._stop_tasks()
                self._release(reusable=True)
                return
            response = self._response = UpstreamResponse(self.abandon)
            self._parser.expect(exchange.method, response)
        try:
            self._parser.feed(data)
        except UpstreamProtocolError as error:
            self._fail(error)
            return
        parser, head = self._parser, self._head
        framed = parser.framing is not None
        if parser.complete:
            self._finish(response)
        elif response.full and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
            response.when_taken(self._resume_reading)
        if framed and not head.done():
            head.set_result(response)
        response.wake()

    def eof_received(self) -> None:
        """End a body that only the end of the connection ends; everything else is cut short."""
        response = self._response
        if response is not None and _in_order(self._transport) and self._parser.feed_eof():
            self._finish(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way, and tell the owner."""
        if self._exchange is not None:
            why = "closed" if exc is None else type(exc).__name__
            if self._awaits_head:
                self._fail(
                    UpstreamUnavailableError(f"the connection was lost before the answer: {why}")
                )
            else:
                self._fail(
                    UpstreamTruncatedError(f"the connection was lost within the answer: {why}")
                )
        self._owner.lost(self)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._last = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    @property
    def _awaits_head(self) -> bool:
        return self._response is None or self._parser.framing is None

    def _finish(self, response: UpstreamResponse) -> None:
        self._response = None
        self._resume_reading()
        self._exchange = None
        self._stop_tasks()
        response.finish()
        self._release(reusable=self._parser.reusable and self._sent)

    def _release(self, *, reusable: bool) -> None:
        """Hand the connection back, the exchange being over, or close it."""
        if reusable and not self._transport.is_closing():
            self.idle_since = self._last
            self._owner.released(self)
        else:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        exchange, self._exchange = self._exchange, None
        response, self._response = self._response, None
        if exchange is None:
            return
        self._stop_tasks()
        if not self._head.done():
            self._head.set_exception(error)
        elif response is not None:
            response.fail(error)
        self._transport.abort()

    def _stop_tasks(self) -> None:
        for task in (self._sender, self._watcher):
            if task is not None:
                task.cancel()
        self._sender = self._watcher = None

    def _client_left(self, watcher: asyncio.Task[None]) -> None:
        if watcher is self._watcher:
            self._fail(ClientGoneError("the client has left"))

    async def _send(self, exchange: Exchange, body: AsyncIterator[bytes]) -> None:
        sent = 0
        length = exchange.length
        try:
            exchange.body_begun = self._awaiting_piece = True
            async for piece in body:
                self._awaiting_piece = False
                sent += len(piece)
                if length is None:
                    if piece:
                        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                elif sent > length:
                    raise RequestBodyError("the request body is longer than announced")
                else:
                    self._transport.write(piece)
                if self._writable is not None:
                    await self._writable
                self._last = self._loop.time()
                self._sent = sent == length
                self._awaiting_piece = not self._sent
            self._awaiting_piece = False
            if length is None:
                self._transport.write(b"0\r\n\r\n")
            elif sent < length:
                raise RequestBodyError("the request body is shorter than announced")
            self._sent = True
        except Exception as error:  # noqa: BLE001 - whatever ends the body ends the exchange
            self._sender = None
            self._fail(error)


def _in_order(transport: asyncio.Transport) -> bool:
    """Whether TLS, where there is any, was closed by its peer: by close_notify, not by a cut."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return bool(tls.read(1) == b"")
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


async def _wait(gone: Callable[[], Awaitable[None]]) -> None:
    await gone()
