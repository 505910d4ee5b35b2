"""The channel of signals, in a loop that is held up: Redis is to blame only for its own silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import structlog
import uvloop

from tests.support.store_worker import Worker, worker


async def subscriber(at: Worker) -> str:
    """Return the number that Redis gave to the subscribed connection."""
    (found,) = await at.redis.client.client_list(_type="pubsub")
    return str(found["id"])


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_held_up_keeps_its_channel(
    loop: Callable[[], asyncio.AbstractEventLoop], redis_url: str
) -> None:
    """It stands still for longer than Redis may, once and in short turns: no message is missed."""

    async def check() -> None:
        with structlog.testing.capture_logs() as logs:
            async with worker(redis_url) as at:
                await at.listening()
                before = await subscriber(at)
                session = await at.sign_in("held up")
                with at.live.watch(session.key) as ended:
                    for stand_still in (1.5, *[0.3] * 6):
                        time.sleep(stand_still)
                        await asyncio.sleep(0)
                    await at.listening()
                    assert await subscriber(at) == before
                    time.sleep(1.5)
                    await at.redis.client.publish("bff:sessions", f"ended {session.key} logout")
                    async with asyncio.timeout(10):
                        await ended.wait()
        assert [line["event"] for line in logs if line["event"].startswith("signals.")] == []

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())
