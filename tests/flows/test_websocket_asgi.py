"""WebSockets under a server that is not set up by us: `uvicorn --factory bff:create_app`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.processes import free_port
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONGEST = 1_000_000
CHAT = Subprotocol("chat")


@dataclass
class Place:
    """A service, and what its upstream did."""

    fleet: Fleet
    port: int
    closes: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    @asynccontextmanager
    async def upstream(self) -> AsyncIterator[None]:
        """Echo messages; do what a message says that is a command."""

        async def handle(socket: ServerConnection) -> None:
            with suppress(ConnectionClosed):
                async for message in socket:
                    if message == "close":
                        await socket.close(3001, "as you say")
                    elif message == "vanish":
                        socket.transport.abort()
                    elif message == "shout":
                        await socket.send(b"a" * (LONGEST + 1))
                    else:
                        await socket.send(message)
            await socket.wait_closed()
            self.closes.append((socket.close_code or 0, socket.close_reason or ""))

        def look(socket: ServerConnection, asked: Request) -> Response | None:
            return socket.respond(404, "no\n") if "refuse" in asked.path else None

        async with serve(handle, "127.0.0.1", self.port, process_request=look, subprotocols=[CHAT]):
            yield

    def open(self, path: str, user: UserAgent | None = None) -> connect:
        """Open a WebSocket as a page does."""
        fields = {"Sec-Fetch-Site": "same-origin"}
        if user is not None:
            fields["Cookie"] = cookie_of(user)
        url = self.fleet.base_url.replace("http", "ws", 1) + path
        return connect(url, additional_headers=fields, proxy=None, subprotocols=[CHAT])

    async def upstream_heard(self, code: int, reason: str = "") -> None:
        """Wait until the upstream's side was closed so."""
        async with asyncio.timeout(10):
            while (code, reason) not in self.closes:
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """The service under uvicorn's own protocols, and its upstream."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "BFF_ROUTES": json.dumps({"/ws": url, "/open": {"upstream": url, "auth": "none"}}),
        "BFF_WEBSOCKET_MAX_MESSAGE": str(LONGEST),
    }
    arguments = ["uvicorn", "--factory", "bff:create_app"]
    folder = tmp_path_factory.mktemp("asgi")
    async with open_fleet(folder, env, arguments=arguments) as fleet:
        place = Place(fleet, port)
        async with place.upstream():
            yield place


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Wait for the end; return code and reason."""
    await asyncio.wait_for(socket.wait_closed(), 10)
    return socket.close_code or 0, socket.close_reason or ""


async def test_messages_and_closes_pass(place: Place) -> None:
    """Text, binary, empty, long and fragmented; the subprotocol; codes both ways."""
    async with place.open("/open") as socket:
        assert socket.subprotocol == CHAT
        for message in ("", "gr\u00fc\u00dfe", b"", b"\0\xff", "a" * 300_000):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send([b"frag", b"ment"])
        assert await socket.recv() == b"fragment"
        await asyncio.gather(*(socket.send(str(number)) for number in range(200)))
        assert [await socket.recv() for _ in range(200)] == [str(n) for n in range(200)]
        await socket.close(3000, "enough")
    await place.upstream_heard(3000, "enough")
    async with place.open("/open") as socket:
        await socket.send("close")
        assert await closed(socket) == (3001, "as you say")


async def test_limits_and_losses_are_told(place: Place) -> None:
    """1009 for what is too long, 1014 for an upstream that is gone, 1001 to one left alone."""
    async with place.open("/open") as socket:
        await socket.send("shout")
        assert (await closed(socket))[0] == 1009
    async with place.open("/open") as socket:
        await socket.send("vanish")
        assert await closed(socket) == (1014, "the connection was lost")
    with pytest.raises(InvalidStatus) as refused:
        await place.open("/open/refuse")
    assert refused.value.response.status_code == 404


async def test_it_ends_with_its_session(place: Place) -> None:
    """4401 within a second; the upstream's side too."""
    user = await place.fleet.signed_in()
    async with place.open("/ws", user) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await user.fetch("/bff/logout", method="POST")
        watch = Stopwatch()
        async with asyncio.timeout(10):
            assert await closed(socket) == (4401, "session ended")
        assert watch.seconds() < 1
    await place.upstream_heard(1001)
    with pytest.raises(InvalidStatus) as refused:
        await place.open("/ws", user)
    assert refused.value.response.status_code == 401
