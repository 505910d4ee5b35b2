"""The answer of an upstream, as its reader sees it: head, then body as it comes.

Flow: the connection feeds bytes in, the reader takes them out; in between is a buffer with a high
mark. Above it the connection stops reading from its socket, so that a slow browser slows the
upstream instead of filling our memory. An answer that breaks off raises at the reader, after the
bytes that did come; it never looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

HIGH_WATER = 65_536


class UpstreamResponse:
    """A response whose head is here. Read it to its end, or `aclose` it.

    `headers` have lower-case names and raw values. Asynchronous iteration gives the body in pieces
    of no particular size. One reader only. `complete` tells that the whole body is here: the next
    `read` gives all that is left of it.
    """

    __slots__ = (
        "_abandon", "_chunks", "_error", "_over", "_resume", "_size", "_waiter", "complete",
        "headers", "status",
    )  # fmt: skip

    def __init__(self, abandon: Callable[[UpstreamResponse], None]) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._resume: Callable[[], None] | None = None
        self._over: Callable[[], None] | None = None
        self._abandon = abandon

    async def read(self) -> bytes:
        """Return what has come of the body, at least one byte; `b""` at its end.

        Raises UpstreamTruncatedError, UpstreamTimeoutError or UpstreamProtocolError where the
        answer breaks off, ClientGoneError where the request was given up.
        """
        while not self._chunks and not self.complete and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunks = self._chunks
        if chunks:
            self._chunks = []
            self._size = 0
            if self._resume is not None:
                self._resume()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._error is not None:
            raise self._error
        return b""

    def rest(self) -> bytes:
        """Return all that is left of a body that is here to its end."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def __aiter__(self) -> Self:
        """Iterate over the body."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece of the body. Raises what `read` raises."""
        piece = await self.read()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give the rest up: the connection to the upstream is closed at once."""
        self._chunks.clear()
        self._abandon(self)

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body from the connection."""
        self._chunks.append(piece)
        self._size += len(piece)

    @property
    def full(self) -> bool:
        """Whether more is buffered than the reader keeps up with."""
        return self._size > HIGH_WATER

    def when_over(self, call: Callable[[], None]) -> None:
        """Name what is to be called once the body is whole, or will never be."""
        self._over = call

    def when_taken(self, resume: Callable[[], None] | None) -> None:
        """Name what is to be called once the reader has emptied the buffer."""
        self._resume = resume

    def finish(self) -> None:
        """Note that the body is whole."""
        self.complete = True
        self._end()

    def fail(self, error: Exception) -> None:
        """Note that the rest will not come."""
        if not self.complete and self._error is None:
            self._error = error
            self._end()

    def wake(self) -> None:
        """Let the reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        self._resume = None
        self.wake()
        if self._over is not None:
            self._over()
