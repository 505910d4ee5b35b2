"""A deadline that measures the other side, and not ourselves.

A worker that is busy, or was held up, reads answers late that came in time: the clock goes on while
the event loop stands still, and an answer may lie unread when its time is over. So when time is up
the loop gets a turn to read what has come; and if it was late itself, it was held up, and a moment
is added, a few times at most.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

LATE = 0.05  # seconds after its time that a bell rings in a loop that was held up
A_MOMENT = 0.25
MOMENTS = 8


class Deadline:
    """`async with Deadline(seconds)`: raises TimeoutError as `asyncio.timeout` does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments = MOMENTS
        self._timeout = asyncio.timeout(None)
        self._bell: asyncio.TimerHandle | asyncio.Handle | None = None

    async def __aenter__(self) -> None:
        """Begin to count."""
        await self._timeout.__aenter__()
        self._set(self._seconds)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting. Raises TimeoutError if time was up."""
        if self._bell is not None:
            self._bell.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _set(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._bell = loop.call_later(seconds, self._ring, loop.time() + seconds, seconds == 0)

    def _ring(self, due: float, has_read: bool) -> None:
        now = asyncio.get_running_loop().time()
        if now - due > LATE and self._moments:
            self._moments -= 1
            self._set(A_MOMENT)
        elif has_read:
            self._timeout.reschedule(now)
        else:
            self._set(0)
