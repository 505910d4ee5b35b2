"""A deadline that measures the other side, and not a loop that was held up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import pytest
import uvloop

from bff.deadline import MOMENTS, Deadline

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
Loop = Callable[[], asyncio.AbstractEventLoop]


class OtherSide:
    """A server in a thread of its own; it answers at once."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            time.sleep(0.2)  # after the loop has begun to stand still
            connection.sendall(b"+PONG\r\n")


@LOOPS
def test_who_does_not_answer_is_given_up(loop: Loop) -> None:
    """Soon after the time, with TimeoutError."""

    async def check() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError), Deadline(0.1):
            await asyncio.sleep(30)
        assert time.monotonic() - began < 10

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


@LOOPS
def test_an_answer_that_lay_unread_counts(loop: Loop) -> None:
    """The loop stands still until long after the time, while the answer is in the socket."""

    async def check() -> None:
        # The other side is a thread of its own: it answers while our loop stands still.
        runner = OtherSide()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
        with Deadline(0.1):
            waiting = asyncio.create_task(reader.readline())
            await asyncio.sleep(0)
            time.sleep(0.5)
            assert await waiting == b"+PONG\r\n"
        writer.close()
        await writer.wait_closed()
        runner.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


@LOOPS
def test_a_loop_that_is_held_up_again_and_again_gives_up_too(loop: Loop) -> None:
    """The moments that are added have a number."""

    async def busy(stop: asyncio.Event) -> None:
        while not stop.is_set():
            time.sleep(0.3)
            await asyncio.sleep(0)

    async def check() -> None:
        stop = asyncio.Event()
        holding = asyncio.create_task(busy(stop))
        began = time.monotonic()
        with pytest.raises(TimeoutError), Deadline(0.05):
            await asyncio.sleep(60)
        stop.set()
        await holding
        assert time.monotonic() - began < (MOMENTS + 2) * 1.5 + 10

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


async def test_nothing_is_left_behind() -> None:
    """What ends in time, or by itself, is not disturbed later; a cancellation stays one."""
    with Deadline(0.05):
        pass
    with pytest.raises(ValueError, match="mine"), Deadline(0.05):
        raise ValueError("mine")
    await asyncio.sleep(0.1)

    async def wait() -> None:
        with Deadline(30):
            await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
