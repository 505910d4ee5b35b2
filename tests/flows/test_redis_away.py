"""Redis frozen, or stopped and started again, under two workers: nobody is signed out for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from tests.support import processes
from tests.support.processes import Service
from tests.support.redis_server import Server, free_ports
from tests.support.site import bff_serve, dev_provider, sign_in, usual
from tests.support.stopwatch import Stopwatch
from tests.support.upstream_server import upstream_server
from tests.support.user_agent import UserAgent

WORKERS = 2
ROUNDS = 8  # enough requests that each of two workers has answered some
STALE_FOR = 1.0  # seconds for which a worker may believe its cache
TOLD_WITHIN = 2.0
BACK_WITHIN = 10.0


@dataclass
class Stage:
    """A service of two workers, and its Redis."""

    service: Service
    redis: Server

    def freeze(self) -> None:
        """Let Redis keep its connections and answer nothing."""
        self.redis.send(SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.redis.send(SIGCONT)

    def stop(self) -> None:
        """End Redis."""
        self.redis.kill()

    def start(self) -> None:
        """Start it again, with what it had written down."""
        self.redis.start()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything that runs; Redis writes each command down before it answers."""
    folder, port = tmp_path_factory.mktemp("away"), processes.free_port()
    with ExitStack() as stack:
        redis = persistent(folder)
        stack.callback(redis.stop)
        upstream = stack.enter_context(upstream_server())
        provider = stack.enter_context(dev_provider(folder, port))
        env = {
            **usual(port, f"redis://127.0.0.1:{redis.port}/0"),
            **provider.settings(),
            "BFF_ROUTES": json.dumps({"/api": upstream.url}),
        }
        yield Stage(stack.enter_context(bff_serve(folder, port, env, workers=WORKERS)), redis)


def persistent(folder: Path) -> Server:
    """Start a Redis that survives its process."""
    server = Server(folder, free_ports(1)[0], ["appendonly yes", "appendfsync always"])
    server.wait()
    return server


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_the_same_session_goes_on(stage: Stage, how: str) -> None:
    """503 within two seconds on pages and routes, the cookie stays, readiness is off; then on."""
    go, come = (
        (stage.freeze, stage.thaw) if how == "frozen" else (stage.stop, stage.start)
    )  # fmt: skip
    async with UserAgent(stage.service.base_url) as alice:
        await sign_in(alice)
        cookie = alice.cookies.get("bff")
        before = (await alice.fetch("/bff/session")).json()
        assert await answers(alice, "/api/orders") == {200}
        go()
        try:
            await asyncio.sleep(STALE_FOR)
            for path in ("/bff/session", "/api/orders", "/bff/readyz"):
                await told(alice, path)
        finally:
            come()
        await within(BACK_WITHIN, alice, "/bff/readyz")
        await within(BACK_WITHIN, alice, "/api/orders")
        assert alice.cookies.get("bff") == cookie
        after = (await alice.fetch("/bff/session")).json()
        assert after["session"]["id"] == before["session"]["id"]
        assert await answers(alice, "/bff/session") == {200}


async def answers(browser: UserAgent, path: str) -> set[int]:
    """Return the status of every answer of several, from all workers."""
    found = await asyncio.gather(*(browser.fetch(path) for _ in range(ROUNDS)))
    return {answer.status_code for answer in found}


async def told(browser: UserAgent, path: str) -> None:
    """Every worker says within two seconds that the store is away, and clears no cookie."""
    watch = Stopwatch()
    for answer in await asyncio.gather(*(browser.fetch(path) for _ in range(ROUNDS))):
        assert answer.status_code == 503, (path, answer.text)
        assert "set-cookie" not in answer.headers
        if path != "/bff/readyz":
            assert answer.json()["code"] == "store_unavailable"
    assert watch.seconds() < TOLD_WITHIN


async def within(seconds: float, browser: UserAgent, path: str) -> None:
    """Wait until all workers answer again."""
    deadline = time.monotonic() + seconds
    while await answers(browser, path) != {200}:
        assert time.monotonic() < deadline, f"{path} is not back"
        await asyncio.sleep(0.05)
