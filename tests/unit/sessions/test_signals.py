"""The channel of signals, in a loop that is held up: Redis is to blame only for its own silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis
import structlog
import uvloop

from tests.support.store_worker import worker
from tests.support.watching import ending


def subscribers(redis_url: str) -> set[str]:
    """Return the numbers that Redis gave to subscribed connections, those of other tests too."""
    with redis.Redis.from_url(redis_url) as client:
        return {str(one["id"]) for one in client.client_list(_type="pubsub")}


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_held_up_keeps_its_channel(
    loop: Callable[[], asyncio.AbstractEventLoop], redis_url: str
) -> None:
    """It stands still for longer than Redis may, once and in short turns: no message is missed."""

    async def check() -> None:
        with structlog.testing.capture_logs() as logs:
            others = subscribers(redis_url)
            async with worker(redis_url) as at:
                await at.listening()
                (own,) = subscribers(redis_url) - others
                session = await at.sign_in("held up")
                with ending(at.live, session.key) as ended:
                    for stand_still in (1.5, *[0.3] * 6):
                        time.sleep(stand_still)
                        await asyncio.sleep(0)
                    await at.listening()
                    assert subscribers(redis_url) - others == {own}
                    time.sleep(1.5)
                    await at.redis.client.publish("bff:sessions", f"ended {session.key} logout")
                    async with asyncio.timeout(10):
                        await ended.wait()
        assert [line["event"] for line in logs if line["event"].startswith("signals.")] == []

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())
