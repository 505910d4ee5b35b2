"""Stands before a server, and can be cut like a cable: then nothing passes, and nothing is closed.

Bytes that were sent meanwhile arrive when the cable is whole again, as TCP would send them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.relay import Relay


class TcpProxy(Relay):
    """Passes everything on from `port` to a port of this machine, unless it is cut."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        """Let nothing pass from now on, neither way; new connections hear nothing."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything pass again."""
        self._whole.set()

    async def reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server, once the cable is whole."""
        await self._whole.wait()
        return await super().reach()

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: bytearray
    ) -> None:
        """Pass everything on while the cable is whole."""
        while piece := await source.read(65_536):
            await self._whole.wait()
            sink.write(piece)
            await sink.drain()
        await self._whole.wait()
        raise ConnectionResetError  # the other direction ends too


@asynccontextmanager
async def tcp_proxy(target: int) -> AsyncIterator[TcpProxy]:
    """Run a proxy before a port of this machine."""
    proxy = TcpProxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
