"""WebSockets whose bytes a test writes and reads itself, on both sides of the service."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from bff.proxy.frames import masked
from bff.websocket_server import accept_of
from tests.support.raw_http import RawAnswer, parse
from tests.support.raw_upstream import Peer

KEY = base64.b64encode(b"0123456789abcdef").decode()
MASK = b"\x0a\x0b\x0c\x0d"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


class RefusedError(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, answer: RawAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class RawFrame(NamedTuple):
    """A frame as it came; `first` is its first byte, `payload` is unmasked."""

    first: int
    payload: bytes
    masked: bool = False


def header(first: int, size: int, *, mask: bytes | None = None) -> bytes:
    """Return the head of a frame of any size."""
    mark = 0x80 if mask is not None else 0
    if size < 126:
        length = bytes((mark | size,))
    elif size < 65_536:
        length = bytes((mark | 126,)) + size.to_bytes(2)
    else:
        length = bytes((mark | 127,)) + size.to_bytes(8)
    return bytes((first,)) + length + (mask or b"")


def encode(first: int, payload: bytes = b"", *, mask: bytes | None = None) -> bytes:
    """Return a frame."""
    body = payload if mask is None else masked(payload, mask)
    return header(first, len(payload), mask=mask) + body


def closing(code: int, reason: str = "") -> bytes:
    """Return the payload of a Close frame."""
    return code.to_bytes(2) + reason.encode()


class RawWebSocket:
    """One end of a WebSocket; `client` tells that it is the browser's."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.mask = MASK if client else None
        self.answer: RawAnswer | None = None

    @classmethod
    async def open(
        cls,
        base_url: str,
        target: str,
        *fields: str,
        cookie: str = "",
        key: str = KEY,
        behind: str = "",
    ) -> Self:
        """Shake hands as a browser's page does. Raises RefusedError.

        `behind` goes out in one piece with the head.
        """
        parts = urlsplit(base_url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        lines = [
            f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
            "Sec-Fetch-Site: same-origin", *([f"Cookie: {cookie}"] if cookie else []), *fields,
        ]  # fmt: skip
        opened = cls(reader, writer, client=True)
        try:
            await opened.say("\r\n".join([*lines, "", behind]).encode("latin-1"))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise RefusedError(parse(head + await reader.read()))
        except BaseException:
            writer.close()
            raise
        opened.answer = parse(head)
        assert opened.answer.headers["sec-websocket-accept"] == accept_of(key.encode()).decode()
        return opened

    @classmethod
    async def accept(cls, peer: Peer, *fields: str, behind: bytes = b"") -> Self:
        """Shake hands as a server does; `behind` goes out in one piece with the head."""
        head = (await peer.head()).decode("latin-1").lower()
        asked = next(line for line in head.split("\r\n") if line.startswith("sec-websocket-key:"))
        start = head.index(asked) + len("sec-websocket-key:")
        key = peer.upstream.requests[-1][start:].partition(b"\r\n")[0].strip()
        lines = [
            "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade",
            f"Sec-WebSocket-Accept: {accept_of(key).decode()}", *fields, "", "",
        ]  # fmt: skip
        await peer.say("\r\n".join(lines).encode("latin-1") + behind)
        return cls(peer.reader, peer.writer, client=False)

    async def send(self, first: int, payload: bytes = b"") -> None:
        """Send one frame."""
        await self.say(encode(first, payload, mask=self.mask))

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self, patience: float = 10.0) -> RawFrame:
        """Read one frame. Raises IncompleteReadError where the connection ends instead."""
        async with asyncio.timeout(patience):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2))
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8))
            mask = await self.reader.readexactly(4) if second & 0x80 else None
            payload = await self.reader.readexactly(size)
            return RawFrame(first, masked(payload, mask) if mask else payload, mask is not None)

    async def end(self, patience: float = 10.0) -> bytes:
        """Wait for the end of the connection; return what came before it."""
        heard = bytearray()
        async with asyncio.timeout(patience):
            with suppress(ConnectionError):
                while piece := await self.reader.read(65_536):
                    heard += piece
        return bytes(heard)

    async def aclose(self) -> None:
        """Hang up without a word."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
