"""Bodies as streams: framing, back-pressure both ways, early answers, bodies that break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bff.proxy.wire import (
    RequestBodyError,
    RequestHead,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.support.raw_upstream import Peer, raw_upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = RequestHead(b"GET", b"/", [])
POST = RequestHead(b"POST", b"/", [(b"host", b"api")])


async def pieces(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


async def read_request(peer: Peer) -> bytes:
    """Read a request with its body, as raw bytes."""
    head = await peer.head()
    if b"transfer-encoding" in head:
        return await peer.reader.readuntil(b"0\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return await peer.reader.readexactly(length)


async def test_a_body_of_known_length_goes_out_with_its_length() -> None:
    """The pieces are not chunked, and the connection is good for another request."""
    bodies: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while True:
            bodies.append(await read_request(peer))
            await peer.say(OK)

    async with raw_upstream(handle) as upstream:
        for _ in range(2):
            body = pieces(b"ab", b"", b"cde", pause=0.01)
            response = await upstream.pool.send(POST, body, timeout=5, length=5)
            assert await response.read() == b"ok"
        assert bodies == [b"abcde", b"abcde"]
        assert b"content-length: 5\r\n\r\n" in upstream.requests[0]
        assert upstream.connections == 1


async def test_a_body_is_sent_when_its_last_byte_is() -> None:
    """An answer before the browser has said that nothing follows keeps the connection."""

    async def lingering() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    async def handle(peer: Peer) -> None:
        while True:
            await read_request(peer)
            await peer.say(OK)

    async with raw_upstream(handle) as upstream:
        for _ in range(2):
            response = await upstream.pool.send(POST, lingering(), timeout=5, length=3)
            assert await response.read() == b"ok"
        assert upstream.connections == 1


async def test_a_body_of_unknown_length_goes_out_chunked() -> None:
    """Each piece is a chunk; an empty piece is none, since it would end the body."""
    bodies: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while True:
            bodies.append(await read_request(peer))
            await peer.say(OK)

    async with raw_upstream(handle) as upstream:
        for _ in range(2):
            body = pieces(b"ab", b"", b"c" * 17, pause=0.01)
            response = await upstream.pool.send(POST, body, timeout=5)
            assert await response.read() == b"ok"
        assert bodies[0] == b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"
        assert upstream.requests[0].endswith(b"transfer-encoding: chunked\r\n\r\n")
        assert upstream.connections == 1


@pytest.mark.parametrize("length", [2, 9])
async def test_a_body_of_another_length_than_announced_is_not_passed_off(length: int) -> None:
    """Too long or too short: the exchange ends, and no byte goes beyond what was announced."""
    rest = b""

    async def handle(peer: Peer) -> None:
        nonlocal rest
        await peer.head()
        rest = await peer.reader.read()
        peer.upstream.left.set()

    async with raw_upstream(handle) as upstream:
        with pytest.raises(RequestBodyError):
            await upstream.pool.send(POST, pieces(b"a", b"bcd"), timeout=5, length=length)
        await asyncio.wait_for(upstream.left.wait(), 3)
        assert len(rest) <= length


async def test_a_body_that_breaks_off_breaks_the_request_off() -> None:
    """An upload whose browser leaves never looks whole to the upstream."""
    rest = b""

    class LeftError(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.sleep(0.05)
        raise LeftError

    async def handle(peer: Peer) -> None:
        nonlocal rest
        await peer.head()
        rest = await peer.reader.read()
        peer.upstream.left.set()

    async with raw_upstream(handle) as upstream:
        with pytest.raises(LeftError):
            await upstream.pool.send(POST, broken(), timeout=5)
        await asyncio.wait_for(upstream.left.wait(), 3)
        assert rest == b"3\r\nabc\r\n"


async def test_the_answer_may_come_while_the_body_goes_out() -> None:
    """Both directions overlap: the upstream echoes piece by piece."""
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            answered.clear()
            yield b"ping"
            await answered.wait()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            assert await peer.reader.readexactly(9) == b"4\r\nping\r\n"
            await peer.say(b"4\r\npong\r\n")
        assert await peer.reader.readexactly(5) == b"0\r\n\r\n"
        await peer.say(b"0\r\n\r\n")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(POST, body(), timeout=5)
        for _ in range(3):
            assert await response.read() == b"pong"
            answered.set()
        assert await response.read() == b""
        assert not upstream.left.is_set()


async def test_an_early_answer_stands_and_costs_the_connection() -> None:
    """A refusal before the end of the body is the answer; the rest of the body is not sent."""
    stopped = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(POST, body(), timeout=5, length=100)
        assert (response.status, await response.read()) == (413, b"")
        await asyncio.wait_for(upstream.left.wait(), 3)
        await asyncio.wait_for(stopped.wait(), 3)


async def test_a_streamed_body_is_never_sent_twice() -> None:
    """Once a piece has been asked for, a stale connection is the end of it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK)
        await peer.head()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"ok"
        with pytest.raises(UpstreamUnavailableError):
            await upstream.pool.send(RequestHead(b"PUT", b"/", []), pieces(b"a"), timeout=5)
        assert upstream.connections == 1


async def test_a_slow_upload_has_all_the_time_while_it_moves() -> None:
    """The time to the head counts from the last piece that went out."""

    async def handle(peer: Peer) -> None:
        await read_request(peer)
        await peer.say(OK)
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        body = pieces(*[b"a"] * 6, pause=0.1)
        response = await upstream.pool.send(POST, body, timeout=0.3)
        assert await response.read() == b"ok"


async def test_an_upload_that_stalls_is_not_the_upstreams_fault() -> None:
    """A browser that stops sending is told from an upstream that stops answering."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        with pytest.raises(RequestBodyError):
            await upstream.pool.send(POST, pieces(b"a", b"b", pause=1), timeout=0.2)
        await asyncio.wait_for(upstream.left.wait(), 3)


async def test_an_upstream_that_takes_no_more_holds_the_body_back() -> None:
    """Back-pressure out: a body of 200 MB is not read into memory; then the time runs out."""
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(3200):
            taken += 65_536
            yield b"a" * 65_536

    async def handle(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(5)

    async with raw_upstream(handle) as upstream:
        with pytest.raises(UpstreamTimeoutError):
            await upstream.pool.send(POST, body(), timeout=0.3)
        assert taken < 20_000_000


async def test_a_body_goes_on_when_the_upstream_takes_again() -> None:
    """After a pause the whole body arrives."""
    size = 16_000_000

    async def body() -> AsyncIterator[bytes]:
        for _ in range(250):
            yield b"a" * (size // 250)

    async def handle(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.3)
        await peer.reader.readexactly(size)
        await peer.say(OK)
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(POST, body(), timeout=5, length=size)
        assert await response.read() == b"ok"


async def test_a_reader_that_takes_no_more_stops_the_upstream() -> None:
    """Back-pressure in: the upstream is held back, no time-out strikes meanwhile, none is lost."""
    size = 64_000_000
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.say(b"a" * 64_000)
            sent += 64_000
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=0.3)
        await asyncio.sleep(0.8)
        held = sent
        assert held < 20_000_000
        total = 0
        while piece := await response.read():
            assert len(piece) < 1_000_000
            total += len(piece)
        assert total == size
        assert not upstream.left.is_set()


async def test_a_whole_answer_waits_for_its_reader_while_the_connection_works_on() -> None:
    """A body that is here belongs to its response, not to the connection."""

    async def handle(peer: Peer) -> None:
        while True:
            head = await peer.head()
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + head.split()[1])

    async with raw_upstream(handle) as upstream:
        first = await upstream.pool.send(RequestHead(b"GET", b"/1", []), None, timeout=5)
        await asyncio.sleep(0.05)
        second = await upstream.pool.send(RequestHead(b"GET", b"/2", []), None, timeout=5)
        assert (await second.read(), await first.read()) == (b"/2", b"/1")
        assert upstream.connections == 1
