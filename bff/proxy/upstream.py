"""The HTTP/1.1 client of the proxy: a pool of connections to one upstream address.

Rules: connections are used again, newest first, and closed when idle a little while, before the
usual servers close them (uvicorn and Node after 5 s); beyond the limit requests wait in the order
they came; a request is sent a second time only if a connection that had been idle broke before a
byte of the answer came, and only if the method is idempotent and the body can be sent again
(RFC 9110 section 9.2.2); upstreams with TLS are verified and named (SNI).

Flow: `send` takes an idle connection, opens one, or waits for one; writes; waits for the head.
Every wait ends by a deadline, and one sweep, not a timer a request, looks after all of them.

Source: RFC 9112 section 9, RFC 9110 section 9.2.2.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from bff.proxy.connecting import open_connection
from bff.proxy.connection import UpstreamConnection
from bff.proxy.expectant import Exchange, Expectant
from bff.proxy.proof import DPOP, UpstreamProof
from bff.proxy.response import UpstreamResponse
from bff.proxy.upstream_tls import UpstreamTls
from bff.proxy.wire import (
    Address,
    RequestHead,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    encode_head,
)

SWEEP_EVERY = 0.1
SWEPT_AT_ONCE = 200
CONNECT_TIMEOUT = 5.0


class _Waiter(NamedTuple):
    granted: asyncio.Future[UpstreamConnection | None]
    deadline: float


class UpstreamPool:
    """The connections to one upstream address, and the requests that wait for one.

    `max_connections` bounds what is open, `max_idle` what is kept open; times are in seconds.
    Belongs to the event loop it is first used in.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int = 1024,
        max_idle: int = 128,
        idle_timeout: float = 4.0,
        connect_timeout: float = CONNECT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._connect_timeout = connect_timeout
        self._ssl = ssl_context or UpstreamTls().of(address)
        self._connections: set[UpstreamConnection] = set()
        self._idle: dict[UpstreamConnection, None] = {}
        self._waiters: deque[_Waiter] = deque()
        self._opening = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied: asyncio.Event | None = None

    async def send(
        self,
        head: RequestHead,
        body: AsyncIterator[bytes] | bytes | None,
        *,
        timeout: float,  # noqa: ASYNC109 - a deadline that the sweep keeps, not a cancellation
        silence: float | None = None,
        length: int | None = None,
        gone: Callable[[], Awaitable[None]] | None = None,
        connect_timeout: float | None = None,
        proof: UpstreamProof | None = None,
    ) -> UpstreamResponse:
        """Send a request and return the response as soon as its head is here.

        `timeout` bounds the wait for the head, counted from the last piece of the body that went
        out; `silence` (the same unless given) that between two bytes of the answer. `length` is
        that of a streamed body, None to send it chunked. `gone` is awaited while the exchange lasts
        longer than a moment; when it returns, the exchange is given up. `body` is read from another
        task, and the response may be here before it has been sent. `connect_timeout` shortens the
        time to connect in. With a `proof` the request carries a fresh one whenever it is sent.

        Raises UpstreamUnavailableError, UpstreamTimeoutError, UpstreamProtocolError, and of the
        first two a subclass where nothing was sent; ClientGoneError after `gone`; RequestBodyError,
        or whatever `body` raises; ValueError for a head that cannot be sent.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        proven = b""
        if proof is not None:
            proven = proof.of(self.address)
            head = head._replace(headers=[*head.headers, (DPOP, proven)])
        if isinstance(body, bytes):
            first = encode_head(head, len(body) or None) + body
            streamed = None
        else:
            first = encode_head(head, length, chunked=body is not None and length is None)
            streamed = body
        exchange = Exchange(
            head.method, first, streamed, length, started, timeout,
            timeout if silence is None else silence, gone,
        )  # fmt: skip
        kept = self._idle_connection()
        connection = kept or await self._acquire(loop, exchange, connect_timeout)
        try:
            return await self._exchange(connection, exchange)
        except UpstreamUnavailableError as error:
            if kept is None:
                raise
            lost = error
        if proof is not None and exchange.repeatable:
            exchange.head = exchange.head.replace(proven, proof.of(self.address), 1)
        return await self.again(exchange, lost, connect_timeout)

    def send_at_once(self, exchange: Exchange, told: Expectant) -> UpstreamConnection | None:
        """Send a request without body on an idle connection; return that, if there is one.

        `told` hears of the answer; where it is told of an error, `again` says what is to be done.
        """
        connection = self._idle_connection()
        if connection is not None:
            exchange.started = asyncio.get_running_loop().time()
            connection.start_for(told, exchange)
        return connection

    async def again(
        self, exchange: Exchange, error: Exception, connect_timeout: float | None = None
    ) -> UpstreamResponse:
        """Send once more what a stale connection did not carry. Raises any other error as it is."""
        stale = isinstance(error, UpstreamUnavailableError) and exchange.repeatable
        if not stale or self._closed:
            raise error
        loop = asyncio.get_running_loop()
        return await self._exchange(await self._connect(loop, exchange, connect_timeout), exchange)

    @property
    def idle(self) -> bool:
        """Whether a connection may be idle: one that is, may have been closed since."""
        return bool(self._idle)

    async def aclose(self) -> None:
        """Close every connection, also those that carry an exchange."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(UpstreamUnavailableError("the pool is closed"))
        self._waiters.clear()
        if self._connections:
            self._emptied = asyncio.Event()
            for connection in tuple(self._connections):
                connection.close(UpstreamUnavailableError("the pool is closed"))
            await self._emptied.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def released(self, connection: UpstreamConnection) -> None:
        """Give a connection that can be used again to the first who waits, or keep it."""
        while self._waiters:
            granted = self._waiters.popleft().granted
            if not granted.done():
                granted.set_result(connection)
                return
        self._idle[connection] = None
        if len(self._idle) > self._max_idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.close()

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is closed; its place goes to the first who waits."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        self._place_is_free()
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    async def _exchange(
        self, connection: UpstreamConnection, exchange: Exchange
    ) -> UpstreamResponse:
        head = connection.start(exchange)
        try:
            return await head
        except asyncio.CancelledError:
            connection.close()
            raise

    def _idle_connection(self) -> UpstreamConnection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _acquire(
        self, loop: asyncio.AbstractEventLoop, exchange: Exchange, connect_timeout: float | None
    ) -> UpstreamConnection:
        """Open a connection, or wait for one; a connection that was waited for is fresh enough."""
        if self._closed:
            raise UpstreamUnavailableError("the pool is closed")
        if len(self._connections) + self._opening < self._max_connections:
            return await self._connect(loop, exchange, connect_timeout)
        waiter = _Waiter(loop.create_future(), exchange.started + exchange.timeout)
        self._waiters.append(waiter)
        self._start_sweep(loop)
        try:
            connection = await waiter.granted
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        if connection is None:
            return await self._connect(loop, exchange, connect_timeout, counted=True)
        if connection.usable:
            return connection
        return await self._connect(loop, exchange, connect_timeout)

    def _give_back(self, waiter: _Waiter) -> None:
        granted = waiter.granted
        if granted.cancelled() or not granted.done() or granted.exception() is not None:
            return
        connection = granted.result()
        if connection is None:
            self._opening -= 1
            self._place_is_free()
        elif connection.usable:
            self.released(connection)

    def _place_is_free(self) -> None:
        while self._waiters and len(self._connections) + self._opening < self._max_connections:
            granted = self._waiters.popleft().granted
            if not granted.done():
                self._opening += 1
                granted.set_result(None)

    async def _connect(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        connect_timeout: float | None,
        *,
        counted: bool = False,
    ) -> UpstreamConnection:
        """Open a connection. It counts from here on, whether it comes about or not."""
        self._opening += not counted
        limit = min(self._connect_timeout, exchange.timeout, connect_timeout or exchange.timeout)
        try:
            connection = await open_connection(loop, self, self.address, self._ssl, limit)
            self._connections.add(connection)
        finally:
            self._opening -= 1
            self._place_is_free()
        self._start_sweep(loop)
        if self._closed:
            connection.close()
            raise UpstreamUnavailableError("the pool is closed")
        return connection

    def _start_sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            # Rarer where there is much to look at, so that looking stays cheap beside the work.
            every = SWEEP_EVERY * max(1, len(self._connections) / SWEPT_AT_ONCE)
            self._timer = loop.call_later(every, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection in tuple(self._connections):
            if connection not in self._idle:
                connection.sweep(now)
            elif now - connection.idle_since > self._idle_timeout:
                del self._idle[connection]
                connection.close()
        for waiter in self._waiters:
            if now > waiter.deadline and not waiter.granted.done():
                waiter.granted.set_exception(UpstreamTimeoutError("no connection became free"))
        while self._waiters and self._waiters[0].granted.done():
            self._waiters.popleft()
        if self._connections or self._waiters:
            self._start_sweep(loop)
