"""The browser's side of one proxied request: its body as it comes, and whether it is still there.

Rules: the body is read by one reader, piece by piece; a short one is also kept, so that the request
can be sent again; after the body, the same channel tells when the browser leaves.

Source: the ASGI HTTP specification, `http.request` and `http.disconnect`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from starlette.types import Receive

from bff.proxy.wire import ClientGoneError

MAX_KEPT = 65_536
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class Browser:
    """Where the body comes from. Iterate over it once, from `begin` on."""

    def __init__(
        self, method: str, headers: Sequence[tuple[bytes, bytes]], receive: Receive
    ) -> None:
        self._receive = receive
        self.length: int | None = None
        chunked = False
        for name, value in headers:
            if name in _FRAMING:
                if name == b"content-length" and value.isdigit():
                    self.length = int(value)
                else:
                    chunked = True
        unannounced = self.length is None and method not in _BODILESS
        self._more = chunked or bool(self.length) or unannounced
        self._kept: list[bytes] | None = []
        self._kept_size = 0
        self._first = b""
        self._ended: asyncio.Event | None = None

    @property
    def has_body(self) -> bool:
        """Whether there is a body, or more of it than has been read."""
        return self._more

    async def begin(self) -> Self | bytes | None:
        """Return the body: all of it where it is here already, or this, to be iterated over.

        Raises ClientGoneError.
        """
        if not self._more:
            return None
        self._first, more = await self._next()
        return self if more else self._first

    @property
    def repeatable(self) -> bytes | None:
        """The whole body, where it was short and has been read to its end; None elsewhere."""
        return None if self._more or self._kept is None else b"".join(self._kept)

    def __aiter__(self) -> Self:
        """Iterate over the pieces."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises ClientGoneError."""
        first, self._first = self._first, b""
        if first:
            return first
        if not self._more:
            raise StopAsyncIteration
        piece, _ = await self._next()
        return piece

    async def gone(self) -> None:
        """Return when the browser has left. Waits for the end of the body first."""
        if self._more:
            self._ended = asyncio.Event()
            await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the browser left within its request")
        piece: bytes = message.get("body", b"")
        self._more = message.get("more_body", False)
        if not self._more and self._ended is not None:
            self._ended.set()
        self._kept_size += len(piece)
        if self._kept is not None:
            self._kept.append(piece)
            if self._kept_size > MAX_KEPT:
                self._kept = None
        return piece, self._more
