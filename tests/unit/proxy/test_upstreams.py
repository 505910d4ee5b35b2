"""Several addresses behind one route, by real sockets: turns, second tries, circuits, the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import Code, Problem
from bff.proxy.route import Route
from bff.proxy.routes import parse_routes
from bff.proxy.upstream import UpstreamPool
from bff.proxy.upstreams import BalancedUpstream, Upstreams
from bff.proxy.wire import (
    Address,
    RequestBodyError,
    RequestHead,
    UpstreamConnectTimeoutError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from tests.support.processes import free_port
from tests.support.raw_upstream import Handler, Peer, RawUpstream, answering, raw_upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BROKEN = b"HTTP/9.9 200 OK\r\n\r\n"


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A route to some upstreams; the last of its addresses may have nobody listening."""

    def __init__(self, upstreams: list[RawUpstream], ports: list[int], **members: Any) -> None:
        self.seen = upstreams
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        [self.route] = parse_routes({"/api": {"upstream": urls, **members}})
        self.clock = Clock()
        self.clients = Upstreams(self.clock)

    async def ask(
        self, method: bytes = b"GET", body: AsyncIterator[bytes] | bytes | None = None,
        timeout: float = 5.0,
    ) -> bytes:  # fmt: skip
        head = RequestHead(method, b"/api", [(b"host", b"first"), (b"accept", b"*/*")])
        response = await self.clients.of(self.route).send(head, body, timeout=timeout)
        return b"".join([piece async for piece in response])

    @property
    def asked(self) -> list[int]:
        """How many requests each upstream saw."""
        return [len(upstream.requests) for upstream in self.seen]


@asynccontextmanager
async def scene(*handlers: Handler, dead: int = 0, **members: Any) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(raw_upstream(one)) for one in handlers]
        ports = [upstream.port for upstream in upstreams] + [free_port() for _ in range(dead)]
        made = Scene(upstreams, ports, **members)
        stack.push_async_callback(made.clients.aclose)
        yield made


async def silent(peer: Peer) -> None:
    await peer.head()
    await peer.until_closed()


async def hangs_up(peer: Peer) -> None:
    await peer.head()


async def test_a_route_with_one_address_is_given_its_pool_itself() -> None:
    """Nothing stands between; routes to one address share their connections."""
    clients = Upstreams()
    address = Address("http", "api", 80)
    one, two = Route(b"/a", address), Route(b"/b", address)
    assert type(clients.of(one)) is UpstreamPool
    assert clients.of(one) is clients.of(two)
    [several] = parse_routes({"/c": ["http://other", "http://api"]})
    assert type(clients.of(several)) is BalancedUpstream
    assert clients.pool(several.alternates[0]) is clients.of(one)
    await clients.aclose()


async def test_requests_take_turns_and_name_the_host_they_go_to() -> None:
    """Round robin, and each upstream is called by its own authority."""
    async with scene(answering(OK), answering(OK)) as place:
        for _ in range(4):
            assert await place.ask() == b"ok"
        assert place.asked == [2, 2]
        for upstream in place.seen:
            head = b"GET /api HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept: */*\r\n\r\n" % upstream.port
            assert upstream.requests == [head, head]


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_was_not_sent_goes_to_the_next_address(streamed: bool) -> None:
    """Even a POST with a body that can be read once; the dead address is logged once."""

    async def body() -> AsyncIterator[bytes]:
        yield b"pay"

    async def handle(peer: Peer) -> None:
        while True:
            head = await peer.head()
            if b"chunked" in head:
                assert await peer.reader.readuntil(b"0\r\n\r\n") == b"3\r\npay\r\n0\r\n\r\n"
            else:
                assert await peer.reader.readexactly(3) == b"pay"
            await peer.say(OK)

    with capture_logs() as logged:
        async with scene(handle, dead=2) as place:
            for _ in range(7):
                assert await place.ask(b"POST", body() if streamed else b"pay") == b"ok"
            assert place.asked == [7]
    assert [line["event"] for line in logged] == ["upstream.ejected"] * 2
    assert {line["route"] for line in logged} == {"/api"}
    assert {line["kind"] for line in logged} == {"UpstreamUnreachableError"}
    assert {line["address"] for line in logged} == {
        address.authority.decode() for address in place.route.alternates
    }


async def test_a_request_that_can_be_sent_again_survives_a_broken_connection() -> None:
    """GET, and PUT with a short body, go on to the next address."""
    async with scene(hangs_up, answering(OK)) as place:
        assert await place.ask() == b"ok"
        assert place.asked == [1, 1]


@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
async def test_what_may_have_had_an_effect_is_not_sent_to_another_address(method: bytes) -> None:
    """The one that got it may have acted on it (RFC 9110 section 9.2.2)."""
    async with scene(hangs_up, answering(OK)) as place:
        with pytest.raises(UpstreamUnavailableError):
            await place.ask(method, b"pay")
        assert place.asked == [1, 0]


async def test_a_streamed_body_is_not_sent_to_a_second_address() -> None:
    """Its pieces are gone."""

    async def body() -> AsyncIterator[bytes]:
        yield b"a"

    async with scene(hangs_up, answering(OK)) as place:
        with pytest.raises(UpstreamUnavailableError):
            await place.ask(b"PUT", body())
        assert place.asked == [1, 0]


async def test_when_all_are_left_out_requests_are_refused_at_once() -> None:
    """502 without a connection; one request at a time tries whether an address is back."""
    with capture_logs() as logged:
        async with scene(dead=2) as place:
            with pytest.raises(UpstreamUnreachableError):
                await place.ask()
            for _ in range(20):
                with pytest.raises(Problem) as caught:
                    await place.ask()
                assert caught.value.code is Code.UPSTREAM_UNAVAILABLE
                assert caught.value.headers == (("Retry-After", "1"),)
            ports = [address.port for address in place.route.addresses]
            place.clock.now += 1.0
            async with raw_upstream(answering(OK), port=ports[0]) as upstream:
                assert await place.ask() == b"ok"
                assert await place.ask() == b"ok"
                assert len(upstream.requests) == 2
    events = [line["event"] for line in logged]
    assert events == ["upstream.ejected", "upstream.ejected", "upstream.back"]


async def test_one_request_tries_while_the_others_are_refused() -> None:
    """Half-open: nobody else waits for an address that may hang."""
    release = asyncio.Event()

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            if not release.is_set():
                await release.wait()
            await peer.say(OK)

    async with scene(handle, circuit=1) as place:
        with pytest.raises(UpstreamTimeoutError):
            await place.ask(timeout=0.15)
        place.clock.now += 1.0
        trial = asyncio.create_task(place.ask())
        while len(place.seen[0].requests) < 2:
            await asyncio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(Problem):
                await place.ask()
        release.set()
        assert await trial == b"ok"
        assert await place.ask() == b"ok"
        assert place.asked == [3]


async def test_a_trial_that_is_cancelled_makes_room_for_the_next() -> None:
    """A browser that leaves does not keep the circuit open for ever."""
    async with scene(silent, circuit=1) as place:
        with pytest.raises(UpstreamTimeoutError):
            await place.ask(timeout=0.15)
        place.clock.now += 1.0
        trial = asyncio.create_task(place.ask())
        while len(place.seen[0].requests) < 2:
            await asyncio.sleep(0.01)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        with pytest.raises(UpstreamTimeoutError):
            await place.ask(timeout=0.15)
        assert place.asked == [3]


async def test_a_circuit_opens_after_that_many_failures_in_a_row() -> None:
    """With one address, refused connections count like time-outs; an answer starts again."""
    with capture_logs() as logged:
        async with scene(dead=1, circuit=3) as place:
            [port] = [address.port for address in place.route.addresses]
            for _ in range(2):
                with pytest.raises(UpstreamUnreachableError):
                    await place.ask()
            place.clock.now += 1.0
            async with raw_upstream(answering(OK), port=port):
                assert await place.ask() == b"ok"
            await place.clients.aclose()
            place.clients = Upstreams(place.clock)
            for _ in range(3):
                with pytest.raises(UpstreamUnreachableError):
                    await place.ask()
            with pytest.raises(Problem):
                await place.ask()
    [line] = logged
    assert (line["event"], line["seconds"], line["log_level"]) == (
        "upstream.ejected", 1.0, "warning",
    )  # fmt: skip


async def test_a_browser_at_fault_does_not_speak_against_an_address() -> None:
    """A body that is not what was announced ends the request and nothing else."""

    async def body() -> AsyncIterator[bytes]:
        yield b"too long"

    async with scene(answering(OK), circuit=1) as place:
        head = RequestHead(b"POST", b"/api", [])
        for _ in range(3):
            with pytest.raises(RequestBodyError):
                await place.clients.of(place.route).send(head, body(), timeout=5, length=2)
        assert await place.ask() == b"ok"


async def test_an_answer_that_is_no_http_counts_but_is_not_asked_for_again() -> None:
    """Who answers in tongues has had the request."""
    async with scene(answering(BROKEN, close=True), circuit=2) as place:
        for _ in range(2):
            with pytest.raises(UpstreamProtocolError):
                await place.ask()
        with pytest.raises(Problem):
            await place.ask()


async def test_the_time_of_a_route_holds_for_all_addresses_together() -> None:
    """A time-out is not followed by another; the next request goes elsewhere."""
    async with scene(silent, answering(OK)) as place:
        with pytest.raises(UpstreamTimeoutError):
            await place.ask(timeout=0.15)
        assert place.asked == [1, 0]
        assert await place.ask() == b"ok"


async def test_time_to_connect_is_shared_between_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address that swallows connections leaves time for the next; on trial it gets little."""
    async with scene(answering(OK), answering(OK)) as place:
        given: list[float | None] = []
        real = UpstreamPool.send

        async def send(self: UpstreamPool, *args: Any, **options: Any) -> Any:
            given.append(options["connect_timeout"])
            if len(given) == 1:
                place.clock.now += 1.5
                raise UpstreamConnectTimeoutError("swallowed")
            return await real(self, *args, **options)

        monkeypatch.setattr(UpstreamPool, "send", send)
        assert await place.ask(timeout=3.0) == b"ok"
        assert given == [1.5, 1.5]
        given.clear()
        with pytest.raises(UpstreamConnectTimeoutError):
            await place.ask(timeout=1.5)
        assert given == [0.75]
        place.clock.now += 1.0
        assert await place.ask(timeout=60.0) == b"ok"
        assert given[1:] == [2.0]


async def test_what_opens_connections_of_its_own_makes_the_same_choice() -> None:
    """`attempt` goes on to the next address; a refusal by the upstream is an answer."""

    class RefusedError(Exception):
        pass

    async with scene(dead=2) as place:
        first, second = place.route.addresses
        asked: list[Address] = []

        async def connect(address: Address, left: float, connecting: float) -> str:
            asked.append(address)
            assert (left, connecting) == (60.0, 5.0)
            if address == first:
                raise UpstreamUnreachableError("nobody there")
            return "open"

        for _ in range(3):
            assert await place.clients.attempt(place.route, connect) == "open"
        assert asked == [first, second, second, second]

        async def refuse(address: Address, left: float, connecting: float) -> str:
            raise RefusedError

        place.clock.now += 1.0
        for _ in range(2):
            with pytest.raises(RefusedError):
                await place.clients.attempt(place.route, refuse, answers=(RefusedError,))
        asked.clear()
        await place.clients.attempt(place.route, connect)
        assert asked[0] == first


async def test_with_one_address_attempt_calls_once() -> None:
    """No choice, no second call."""
    clients = Upstreams()
    route = Route(b"/a", Address("http", "api", 80))

    async def connect(*given: object) -> tuple[object, ...]:
        return given

    assert await clients.attempt(route, connect) == (route.upstream, 60.0, 5.0)
    await clients.aclose()
