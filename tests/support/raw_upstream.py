"""An upstream that is a raw socket: it says exactly the bytes that a test scripts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from bff.proxy.upstream import UpstreamPool
from bff.proxy.wire import Address

Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One accepted connection, seen from the upstream's side."""

    def __init__(
        self, upstream: RawUpstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.upstream = upstream
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Read a request head, and note it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.upstream.requests.append(head)
        return head

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Wait until the client closes."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.upstream.left.set()


class RawUpstream:
    """What the upstream saw."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = asyncio.Event()
        self.pool: UpstreamPool
        self.port = 0


def answering(*answers: bytes, close: bool = False) -> Handler:
    """Give one answer a request, the last one again and again; stay open unless told otherwise."""

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            number = min(len(peer.upstream.requests), len(answers)) - 1
            await peer.say(answers[number])
            if close:
                return

    return handle


@asynccontextmanager
async def raw_upstream(
    handler: Handler,
    *,
    server_ssl: ssl.SSLContext | None = None,
    client_ssl: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    max_connections: int = 100,
    max_idle: int = 10,
    idle_timeout: float = 5.0,
) -> AsyncIterator[RawUpstream]:
    """Run an upstream on loopback, with a pool that leads to it."""
    upstream = RawUpstream()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        upstream.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await handler(Peer(upstream, reader, writer))
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=server_ssl)
    upstream.port = server.sockets[0].getsockname()[1]
    upstream.pool = UpstreamPool(
        Address("http" if server_ssl is None else "https", host, upstream.port),
        max_connections=max_connections,
        max_idle=max_idle,
        idle_timeout=idle_timeout,
        ssl_context=client_ssl,
    )
    try:
        yield upstream
    finally:
        await upstream.pool.aclose()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
