"""Stands between a browser and a server, and keeps every byte that the server sent.

What a browser's own tools tell of an answer is not all of it: bodies of pages that are left at once
are gone, and so are the frames of a WebSocket. Nothing is hidden from a wire.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Relay:
    """Listens on a port of its own and passes everything on to `port` of this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.received = bytearray()

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        onward: asyncio.StreamWriter | None = None
        try:
            back, onward = await self.reach()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pump(reader, onward, bytearray()))
                group.create_task(self.pump(back, writer, self.received))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._connections.discard(task)
            for end in (writer, onward):
                if end is not None:
                    end.close()
                    with suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

    async def reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server."""
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: bytearray
    ) -> None:
        """Pass everything on, and its end."""
        while piece := await source.read(65_536):
            record += piece
            sink.write(piece)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
