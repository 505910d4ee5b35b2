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
A_TURN = 0.001  # seconds, in which the loop looks at its sockets; uvloop does not, for none
MOMENTS = 8


class Deadline:
    """`with Deadline(seconds)`: raises TimeoutError as `asyncio.timeout` does, in fewer steps."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments = MOMENTS
        self._rung = False

    def __enter__(self) -> None:
        """Begin to count. Raises RuntimeError outside a task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be interrupted")
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._set(self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting. Raises TimeoutError if time was up, and nobody else interrupted."""
        self._bell.cancel()
        if (
            self._rung
            and self._task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def _set(self, seconds: float, *, has_read: bool = False) -> None:
        due = self._loop.time() + seconds
        self._bell = self._loop.call_later(seconds, self._ring, due, has_read)

    def _ring(self, due: float, has_read: bool) -> None:
        if self._loop.time() - due > LATE and self._moments:
            self._moments -= 1
            self._set(A_MOMENT)
        elif has_read:
            self._rung = True
            self._task.cancel()
        else:
            self._set(A_TURN, has_read=True)
