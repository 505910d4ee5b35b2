"""WebSockets through the service: handshakes, messages, close codes, and the session's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.processes import Cast, DevProvider, Service, free_port
from tests.support.raw_http import exchange, request
from tests.support.raw_upstream import Peer, raw_upstream
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

Handler = Callable[[ServerConnection], Awaitable[None]]
LONGEST = 150_000_000
PROTOCOLS = [Subprotocol("chat"), Subprotocol("news")]


@dataclass
class Place:
    """The service, and the port of its upstream."""

    service: Service
    provider: DevProvider
    port: int

    @asynccontextmanager
    async def upstream(self, handler: Handler) -> AsyncIterator[list[Request]]:
        """Run a WebSocket server as upstream; give the handshakes it saw."""
        seen: list[Request] = []

        def look(connection: ServerConnection, handshake: Request) -> Response | None:
            seen.append(handshake)
            if "refuse" in handshake.path:
                return connection.respond(409, "not now\n")
            return None

        async with serve(
            handler, "127.0.0.1", self.port, process_request=look, subprotocols=PROTOCOLS[1:],
            max_size=None,
        ):  # fmt: skip
            yield seen

    def open(self, path: str, browser: UserAgent | None = None, **headers: str) -> connect:
        """Open a WebSocket like a browser's page does."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields.setdefault("Sec-Fetch-Site", "same-origin")
        if browser is not None:
            fields["Cookie"] = f"bff={browser.cookies.get('bff')}"
        return connect(
            self.service.base_url.replace("http", "ws", 1) + path, additional_headers=fields,
            subprotocols=PROTOCOLS, proxy=None, max_size=None, user_agent_header=None,
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(redis_process: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The service with routes to one address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    routes = {
        "/api": url,
        "/open": {"upstream": url, "auth": "none", "strip_prefix": True},
        "/quick": {"upstream": url, "auth": "none", "timeout": 0.5},
    }
    with ExitStack() as stack:
        cast = Cast(stack, tmp_path_factory.mktemp("websocket"), redis_process)
        provider = cast.provider()
        settings = {
            **provider.settings(),
            "BFF_ROUTES": json.dumps(routes),
            "BFF_WEBSOCKET_MAX_MESSAGE": str(LONGEST),
        }
        yield Place(cast.service(settings), provider, port)


@pytest.fixture
async def alice(place: Place) -> AsyncIterator[UserAgent]:
    """A browser with Alice signed in."""
    async with UserAgent(place.service.base_url) as browser:
        await browser.navigate("/bff/login")
        await browser.submit(button="alice")
        yield browser


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def closed(connection: ClientConnection) -> tuple[int, str]:
    """Wait for the end; return code and reason."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return connection.close_code or 0, connection.close_reason or ""


async def test_the_handshake_carries_the_token_and_not_the_cookie(
    place: Place, alice: UserAgent
) -> None:
    """Target byte for byte, subprotocol agreed end to end, our fields added."""
    async with (
        place.upstream(echo) as seen,
        place.open("/api/a;b=c/%41?x=%20&x='", alice, X_Forwarded_User="evil") as socket,
    ):
        assert socket.subprotocol == "news"
        await socket.send("hello")
        assert await socket.recv() == "hello"
    [handshake] = seen
    assert handshake.path == "/api/a;b=c/%41?x=%20&x='"
    fields = handshake.headers
    assert fields["Authorization"].startswith("Bearer ")
    assert fields["Host"] == f"127.0.0.1:{place.port}"
    assert fields["X-Forwarded-For"] == "127.0.0.1"
    assert len(fields.get_all("Sec-WebSocket-Key")) == len(fields.get_all("Host")) == 1
    assert "Cookie" not in fields
    assert "User-Agent" not in fields
    assert "X-Forwarded-User" not in fields


async def test_messages_pass_as_they_are(place: Place) -> None:
    """Text as text, binary as binary, empty, large and fragmented ones, in their order."""
    messages: list[str | bytes] = [
        "",
        "gr\u00fc\u00dfe",
        b"",
        b"\0\xff",
        "a" * 300_000,
        b"b" * 3_000_000,
    ]
    async with place.upstream(echo), place.open("/open") as socket:
        for message in messages:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(["frag", "ment", "ed"])
        assert await socket.recv() == "fragmented"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "a"), (4999, "z")])
async def test_close_codes_pass_both_ways(place: Place, code: int, reason: str) -> None:
    """One end's code and reason are the other's."""
    heard: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()
        heard.set_result((connection.close_code or 0, connection.close_reason or ""))

    async def hang_up(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async with place.upstream(listen):
        async with place.open("/open") as socket:
            await socket.close(code, reason)
        assert await asyncio.wait_for(heard, 10) == (code, reason)
    async with place.upstream(hang_up), place.open("/open") as socket:
        assert await closed(socket) == (code, reason)


async def test_an_upstream_that_vanishes_is_a_bad_gateway(place: Place) -> None:
    """No close frame came from it, so the code says whose fault it was (1014)."""

    async def vanish(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with place.upstream(vanish), place.open("/open") as socket:
        assert (await closed(socket))[0] == 1014


async def test_a_browser_that_vanishes_closes_the_upstream(place: Place) -> None:
    """Nobody talks to nobody."""
    gone = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()
        gone.set()

    async with place.upstream(listen), place.open("/open") as socket:
        socket.transport.abort()
        await asyncio.wait_for(gone.wait(), 10)


@pytest.mark.parametrize(
    ("headers", "signed_in", "status"),
    [
        ({}, False, 401),
        ({"Sec_Fetch_Site": "cross-site"}, True, 403),
        ({"Sec_Fetch_Site": "same-site", "Origin": "https://evil.example"}, True, 403),
    ],
)
async def test_a_handshake_is_admitted_like_any_request(
    place: Place, alice: UserAgent, headers: dict[str, str], signed_in: bool, status: int
) -> None:
    """No session: 401; a page of another site: 403; the upstream hears of neither."""
    async with place.upstream(echo) as seen:
        with pytest.raises(InvalidStatus) as refused:
            async with place.open("/api", alice if signed_in else None, **headers):
                pass
        assert refused.value.response.status_code == status
        assert not seen


async def test_a_refusal_of_the_upstream_is_passed_on(place: Place) -> None:
    """Its status and words, not ours."""
    async with place.upstream(echo):
        with pytest.raises(InvalidStatus) as refused:
            async with place.open("/open/refuse"):
                pass
    assert refused.value.response.status_code == 409
    assert refused.value.response.body == b"not now\n"


async def test_upstreams_that_do_not_answer_properly(place: Place) -> None:
    """Down, too slow, or something else: 502 and 504."""

    async def silent(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async def other(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: irc\r\n\r\n")
        await peer.until_closed()

    statuses: list[int] = []
    with pytest.raises(InvalidStatus) as refused:
        await place.open("/open")
    statuses.append(refused.value.response.status_code)
    for handler in (silent, other):
        async with raw_upstream(handler, port=place.port):
            with pytest.raises(InvalidStatus) as refused:
                await place.open("/quick")
        statuses.append(refused.value.response.status_code)
    assert statuses == [502, 504, 502]


async def test_a_websocket_ends_with_its_session(place: Place, alice: UserAgent) -> None:
    """Signing out closes it with 4401, and the upstream's side too, within a second."""
    gone = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()
        gone.set()

    async with place.upstream(listen), place.open("/api", alice) as socket:
        await asyncio.sleep(0.2)
        watch = Stopwatch()
        assert (await alice.fetch("/bff/logout", method="POST")).status_code == 200
        assert await asyncio.wait_for(closed(socket), 10) == (4401, "session ended")
        await asyncio.wait_for(gone.wait(), 10)
        assert watch.seconds() < 1


async def test_an_upgrade_to_anything_else_is_a_plain_request(place: Place) -> None:
    """`Upgrade: h2c` opens no tunnel to the upstream."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert b"upgrade" not in head.lower()
        await peer.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.until_closed()

    async with raw_upstream(handle, port=place.port):
        sent = request("/open", "Upgrade: h2c", "HTTP2-Settings: x").replace(
            b"Connection: close", b"Connection: Upgrade, HTTP2-Settings, close"
        )
        assert (await exchange(place.service.base_url, sent)).status == 204
