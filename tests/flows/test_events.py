"""`GET /bff/events`, and whatever else is open under a session: all hear of its end at once.

Event streams, proxied event streams and WebSockets; within a second, on every worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.keep_alive import (
    Connection,
    cpu_seconds,
    descriptors,
    resident,
    served_by,
)
from tests.support.processes import free_port
from tests.support.site import signed_in
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 3
SOON = 1.0
MANY = 1000
SESSION_ENDED = 4401


@pytest.fixture(scope="module")
def websocket_port() -> int:
    """Where the WebSocket upstream listens."""
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, websocket_port: int
) -> AsyncIterator[Fleet]:
    """Three workers; a WebSocket upstream that echoes."""

    async def echo(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(message)

    async with (
        serve(echo, "127.0.0.1", websocket_port),
        open_fleet(tmp_path_factory.mktemp("events"), workers=WORKERS) as fleet,
    ):
        yield fleet


class Stream:
    """One event stream."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard = ""
        self.ended_at: float | None = None
        self.cut = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, cookie: str, target: str = "/bff/events") -> int:
        """Ask for it; return the status."""
        await self.connection.send(target, cookie)
        status, fields = await self.connection.head()
        if status == 200:
            assert fields["content-type"].partition(";")[0] == "text/event-stream"
            assert fields["cache-control"] == "no-store"
            self.listen()
        return status

    def listen(self) -> None:
        """Begin to note what comes."""
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            async for piece in self.connection.pieces():
                self.heard += piece.decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.cut = True
        self.ended_at = time.monotonic()

    @property
    def events(self) -> list[tuple[str, dict[str, object]]]:
        """What was said so far."""
        found: list[tuple[str, dict[str, object]]] = []
        for block in self.heard.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    async def over(self, patience: float = 5.0) -> None:
        """Wait for its end."""
        assert self._task is not None
        await asyncio.wait_for(self._task, patience)

    async def hears(self, name: str, patience: float = 5.0) -> dict[str, object]:
        """Wait for an event; return what it says."""
        async with asyncio.timeout(patience):
            while True:
                for event, data in self.events:
                    if event == name:
                        return data
                await asyncio.sleep(0.02)


async def everywhere(fleet: Fleet, browser: UserAgent, target: str = "/bff/events") -> list[Stream]:
    """Open streams on every worker."""
    streams = [Stream(connection) for connection in await fleet.spread(2 * WORKERS)]
    cookie = cookie_of(browser)
    assert {await stream.open(cookie, target) for stream in streams} == {200}
    return streams


Ending = Callable[[Fleet, UserAgent], Awaitable[object]]


async def by_sign_out(_fleet: Fleet, browser: UserAgent) -> object:
    return await browser.fetch("/bff/logout", method="POST")


async def by_the_provider(fleet: Fleet, browser: UserAgent) -> object:
    session = await fleet.session(browser)
    assert session is not None
    return await fleet.provider_says(sid=str(session.sid))


async def by_its_owner(fleet: Fleet, browser: UserAgent) -> object:
    return await (await fleet.signed_in()).fetch("/bff/sessions", method="DELETE")


async def by_another_login(fleet: Fleet, browser: UserAgent) -> object:
    return await fleet.minting.sign_in(browser)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (by_sign_out, "logout"),
        (by_the_provider, "backchannel_logout"),
        (by_its_owner, "ended_by_user"),
        (by_another_login, "replaced"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_end_is_told_on_every_worker(fleet: Fleet, end: Ending, reason: str) -> None:
    """Within a second, once, with its reason; then the stream ends, whole."""
    browser = await fleet.signed_in()
    bob = await fleet.signed_in("bob")
    streams = await everywhere(fleet, browser)
    others = await everywhere(fleet, bob)
    watch = Stopwatch()
    await end(fleet, browser)
    for stream in streams:
        await stream.over()
        assert stream.events == [("session.ended", {"reason": reason})]
        assert not stream.cut
        assert stream.ended_at is not None
        assert watch.seconds(stream.ended_at) < SOON
    assert [one.events for one in others] == [[]] * len(others)


async def test_a_refresh_is_told_on_every_worker(fleet: Fleet) -> None:
    """And the stream goes on."""
    browser = await fleet.signed_in()
    streams = await everywhere(fleet, browser)
    assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
    for stream in streams:
        assert await stream.hears("session.refreshed", SOON) == {}
    assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
    await asyncio.sleep(0.3)
    assert {Counter(name for name, _ in one.events)["session.refreshed"] for one in streams} == {2}
    assert {one.ended_at for one in streams} == {None}


async def test_signed_out_there_is_no_stream(fleet: Fleet) -> None:
    """401 without a session, with one that has ended, and with a forged cookie."""
    browser = await fleet.signed_in()
    cookie = cookie_of(browser)
    await browser.fetch("/bff/logout", method="POST")
    connections = await fleet.connections(3)
    for connection, value in zip(connections, ("", cookie, cookie[:-2] + "xx"), strict=True):
        answer = await connection.ask("/bff/events", value)
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")


async def test_proxied_streams_are_cut_on_every_worker(fleet: Fleet) -> None:
    """What an upstream streams under the session ends with it, and never looks whole."""
    browser = await fleet.signed_in()
    streams = [Stream(connection) for connection in await fleet.spread(2 * WORKERS)]
    for stream in streams:
        await stream.connection.send("/api/stream", cookie_of(browser))
        assert (await stream.connection.head())[0] == 200
        stream.listen()
    await asyncio.sleep(0.3)
    assert all(stream.heard for stream in streams)
    watch = Stopwatch()
    await by_the_provider(fleet, browser)
    for stream in streams:
        await stream.over()
        assert stream.cut
        assert stream.ended_at is not None
        assert watch.seconds(stream.ended_at) < SOON


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sockets_fleet(
    tmp_path_factory: pytest.TempPathFactory, websocket_port: int, fleet: Fleet
) -> AsyncIterator[Fleet]:
    """Two workers in front of the WebSocket upstream, with sessions that idle out in 4 seconds."""
    del fleet  # which runs the upstream
    env = {
        "BFF_ROUTES": json.dumps({"/ws": f"http://127.0.0.1:{websocket_port}"}),
        "BFF_SESSION_IDLE_TIMEOUT": "4",
    }
    async with open_fleet(tmp_path_factory.mktemp("sockets"), env, workers=2) as other:
        yield other


@contextlib.asynccontextmanager
async def websockets_everywhere(
    fleet: Fleet, browser: UserAgent
) -> AsyncIterator[list[ClientConnection]]:
    """Open WebSockets until every worker has some."""
    async with contextlib.AsyncExitStack() as stack:
        opened: dict[ClientConnection, int] = {}
        while set(opened.values()) != set(fleet.pids):
            one = await stack.enter_async_context(
                connect(
                    fleet.base_url.replace("http", "ws", 1) + "/ws",
                    additional_headers={
                        "Cookie": cookie_of(browser), "Sec-Fetch-Site": "same-origin",
                    },
                    proxy=None,
                )
            )  # fmt: skip
            ends = _Ends(one.local_address[1], one.remote_address[1])
            opened[one] = served_by([ends], fleet.pids)[ends]
            assert len(opened) < 100
        yield list(opened)


@dataclass(eq=False)
class _Ends:
    port: int
    server_port: int


async def test_websockets_close_on_every_worker(sockets_fleet: Fleet) -> None:
    """With 4401, within a second."""
    browser = await sockets_fleet.signed_in()
    async with websockets_everywhere(sockets_fleet, browser) as sockets:
        for socket in sockets:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        watch = Stopwatch()
        await by_the_provider(sockets_fleet, browser)
        for socket in sockets:
            await asyncio.wait_for(socket.wait_closed(), 5)
            assert socket.close_code == SESSION_ENDED
        assert watch.seconds() < SOON


async def test_listening_is_no_use_of_a_session(sockets_fleet: Fleet) -> None:
    """It is warned of, ends when its idle time is over, and takes all that is open with it."""
    browser = await sockets_fleet.signed_in()
    began = time.monotonic()
    stream = Stream((await sockets_fleet.connections(1))[0])
    assert await stream.open(cookie_of(browser)) == 200
    async with websockets_everywhere(sockets_fleet, browser) as sockets:
        watch = Stopwatch()
        warning = await stream.hears("session.expiring", 8)
        assert warning["expires_in"] in {0, 1}
        async with asyncio.timeout(8):
            await stream.over(8)
            for socket in sockets:
                await socket.wait_closed()
                assert socket.close_code == SESSION_ENDED
        assert stream.events[-1] == ("session.ended", {"reason": "expired"})
        assert time.monotonic() - began > 3.5
        assert watch.seconds() < 4 + SOON
    assert not await signed_in(browser)


async def test_who_uses_the_session_is_warned_anew(sockets_fleet: Fleet) -> None:
    """A use puts the end off, also one that another worker serves; each end is warned of once."""
    browser = await sockets_fleet.signed_in()
    streams = [Stream(connection) for connection in await sockets_fleet.spread(6)]
    assert {await stream.open(cookie_of(browser)) for stream in streams} == {200}
    for stream in streams:
        await stream.hears("session.expiring", 8)
    assert (await browser.fetch("/bff/session")).json()["authenticated"]
    used, watch = time.monotonic(), Stopwatch()
    for stream in streams:
        await stream.over(8)
        names = [name for name, _ in stream.events]
        assert names == ["session.expiring", "session.expiring", "session.ended"]
    assert time.monotonic() - used > 3.0
    assert watch.seconds() < 4 + SOON


async def test_many_streams_cost_little(tmp_path: Path) -> None:
    """1,000 on one worker: a descriptor each, one subscription for all; all hear the end."""
    async with open_fleet(tmp_path) as fleet:
        (pid,) = fleet.pids
        browser = await fleet.signed_in()
        before, memory = descriptors(pid), resident(pid)
        streams = [Stream(connection) for connection in await fleet.connections(MANY)]
        statuses = await asyncio.gather(*(one.open(cookie_of(browser)) for one in streams))
        assert Counter(statuses) == {200: MANY}
        each = (resident(pid) - memory) / MANY
        async with redis.asyncio.Redis.from_url(fleet.redis_url) as client:
            assert await client.pubsub_numsub("bff:sessions") == [(b"bff:sessions", 1)]
            subscribers = [one for one in await client.client_list() if int(one["sub"])]
            assert len(subscribers) == 1
        assert descriptors(pid) - before < MANY + 40
        assert (await browser.fetch("/bff/session")).status_code == 200
        watch, used = Stopwatch(), cpu_seconds(pid)
        await browser.fetch("/bff/logout", method="POST")
        await asyncio.gather(*(one.over(10) for one in streams))
        took, used = watch.seconds(), cpu_seconds(pid) - used
        print(
            f"{MANY} streams: {each / 1024:.0f} KiB each; ended in {took:.2f} s, CPU {used:.2f} s"
        )
        assert each < 128 * 1024
        assert took < 3
        assert {str(one.events) for one in streams} == {"[('session.ended', {'reason': 'logout'})]"}
        for one in streams:
            await one.connection.aclose()
        async with asyncio.timeout(5):
            while descriptors(pid) > before + 40:
                await asyncio.sleep(0.1)
