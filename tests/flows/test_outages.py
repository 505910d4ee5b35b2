"""When something we stand on is away: nobody is signed out for it, and everything comes back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bff.sessions.embedded import find_server
from tests.conftest import RunService
from tests.support import processes
from tests.support.processes import DevProvider
from tests.support.site import bff_serve, dev_provider, sign_in, signed_in, usual
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

QUICKLY = 2.0  # seconds in which a browser must have its 503


class RedisThatGoes:
    """A Redis server that writes everything down, so that it can go and come back."""

    def __init__(self, folder: Path) -> None:
        self.port = processes.free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = subprocess.Popen(
            [find_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self._folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise TimeoutError("redis-server")

    def stop(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(10)

    def fall_silent(self) -> None:
        """Keep connections but answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def speak_again(self) -> None:
        """Answer what has queued up, and go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def redis_that_goes(tmp_path: Path) -> Iterator[RedisThatGoes]:
    """A Redis to be taken away."""
    redis = RedisThatGoes(tmp_path)
    yield redis
    redis.stop()


async def patient(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until an async condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
async def test_redis_away_signs_nobody_out(
    tmp_path: Path, redis_that_goes: RedisThatGoes, silent: bool
) -> None:
    """503 within two seconds to who has our cookie; the same session goes on afterwards."""
    redis, port = redis_that_goes, processes.free_port()
    go, come = (redis.fall_silent, redis.speak_again) if silent else (redis.stop, redis.start)
    with (
        dev_provider(tmp_path, port) as provider,
        bff_serve(tmp_path, port, {**usual(port, redis.url), **provider.settings()}) as service,
    ):
        async with UserAgent(service.base_url) as alice, UserAgent(service.base_url) as stranger:
            await sign_in(alice)
            cookie = alice.cookies.get("bff")
            told = [(await alice.fetch("/bff/session")).json()]
            go()

            async def away() -> bool:
                answer = await alice.fetch("/bff/session")
                if answer.status_code == 200:  # what was read a moment ago may still be told
                    told.append(answer.json())
                return answer.status_code == 503

            await patient(away, QUICKLY)
            for method, path in (
                ("GET", "/bff/session"), ("POST", "/bff/refresh"), ("POST", "/bff/logout"),
                ("GET", "/bff/readyz"), ("GET", "/bff/session"),
            ):  # fmt: skip
                watch = Stopwatch()
                answer = await alice.fetch(path, method=method)
                took = watch.seconds()
                assert answer.status_code == 503, (path, answer.text)
                assert took < QUICKLY, (path, took)
                assert "set-cookie" not in answer.headers
                if path != "/bff/readyz":
                    assert answer.json()["code"] == "store_unavailable"
                    assert "retry-after" in answer.headers
            page = await alice.navigate("/bff/login", follow=False)
            assert (page.status, page.headers.get("set-cookie")) == (503, None)
            assert "store_unavailable" in page.text
            assert (await stranger.fetch("/bff/session")).json()["authenticated"] is False
            assert (await stranger.fetch("/bff/healthz")).status_code == 200
            come()

            async def back() -> bool:
                answer = await alice.fetch("/bff/session")
                if answer.status_code == 200:
                    told.append(answer.json())
                return answer.status_code == 200

            await patient(back, 10)
            assert alice.cookies.get("bff") == cookie
            assert all(answer["authenticated"] for answer in told)
            assert told[0]["session"]["id"] == told[-1]["session"]["id"]
            answer = await alice.fetch("/bff/logout", method="POST")
            assert answer.status_code == 200
            assert not await signed_in(alice)


async def test_a_callback_while_redis_is_away_can_be_repeated(
    tmp_path: Path, redis_that_goes: RedisThatGoes
) -> None:
    """503 and no session; the login was not used up, so a reload completes it."""
    redis, port = redis_that_goes, processes.free_port()
    with (
        dev_provider(tmp_path, port) as provider,
        bff_serve(tmp_path, port, {**usual(port, redis.url), **provider.settings()}) as service,
    ):
        async with UserAgent(service.base_url) as browser:
            await browser.navigate("/bff/login")
            url = (await browser.submit(button="alice", follow=False)).headers["location"]
            redis.stop()
            page = await browser.navigate(url, follow=False)
            assert (page.status, page.headers.get("set-cookie")) == (503, None)
            redis.start()
            page = await browser.navigate(url)
            assert page.path == "/", service.log[-6:]
            assert await signed_in(browser)


async def test_a_provider_that_is_down_at_start_is_waited_for(
    run_service: RunService, start_provider: Callable[..., DevProvider]
) -> None:
    """The service starts, is alive but not ready, answers logins with a page, and recovers."""
    port = processes.free_port()
    settings = {
        "BFF_ISSUER": f"http://127.0.0.1:{port}",
        "BFF_CLIENT_ID": processes.CLIENT_ID,
        "BFF_CLIENT_SECRET": processes.CLIENT_SECRET,
    }
    service = run_service(settings, ready=False)
    async with UserAgent(service.base_url) as browser:
        assert (await browser.fetch("/bff/healthz")).status_code == 200
        ready = await browser.fetch("/bff/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"status": "unavailable", "store": "ok", "provider": "unavailable"}
        page = await browser.navigate("/bff/login", follow=False)
        assert page.status == 503
        assert "provider_unavailable" in page.text
        assert page.headers["retry-after"]
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is False
        assert service.events("provider.discovery_failed")
        start_provider(port=port)

        async def ready_now() -> bool:
            return (await browser.fetch("/bff/readyz")).status_code == 200

        await patient(ready_now, 10)
        await sign_in(browser)
        assert await signed_in(browser)


async def test_a_provider_that_goes_away_later_signs_nobody_out(
    run_service: RunService, start_provider: Callable[..., DevProvider]
) -> None:
    """Sessions go on; a forced refresh is 503 and changes nothing; signing out still works."""
    provider = start_provider()
    service = run_service(provider.settings())
    async with UserAgent(service.base_url) as browser:
        await sign_in(browser)
        provider.process.stop()
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 503
        assert await signed_in(browser)
        answer = await browser.fetch("/bff/logout", method="POST")
        assert answer.status_code == 200
        assert not await signed_in(browser)
