"""The pool: what goes out, which connection it takes, how long it waits, when it tries again."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings

import pytest

from bff.proxy.upstream import UpstreamPool
from bff.proxy.wire import (
    Address,
    ClientGoneError,
    RequestHead,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.support.raw_upstream import Peer, answering, raw_upstream
from tests.support.stopwatch import Stopwatch

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = RequestHead(b"GET", b"/", [(b"host", b"api")])


async def fetch(pool: UpstreamPool, head: RequestHead = GET, body: bytes | None = None) -> bytes:
    response = await pool.send(head, body, timeout=5)
    return b"".join([piece async for piece in response])


async def test_the_head_goes_out_byte_for_byte() -> None:
    """Target, names and values are what the caller gave, in that order."""
    headers = [
        (b"host", b"api:1"),
        (b"X-Odd", b"\xe9  a\t"),
        (b"accept", b"*/*"),
        (b"accept", b"b"),
    ]
    async with raw_upstream(answering(OK)) as upstream:
        await fetch(upstream.pool, RequestHead(b"GET", b"/a%2e%41|\"'?a=1&a=%20'", headers))
        assert upstream.requests == [
            b"GET /a%2e%41|\"'?a=1&a=%20' HTTP/1.1\r\nhost: api:1\r\nX-Odd: \xe9  a\t\r\n"
            b"accept: */*\r\naccept: b\r\n\r\n"
        ]


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"GET", None, b""),
        (b"DELETE", None, b""),
        (b"HEAD", b"", b""),
        (b"POST", None, b"content-length: 0\r\n"),
        (b"PUT", b"", b"content-length: 0\r\n"),
        (b"PATCH", None, b"content-length: 0\r\n"),
        (b"POST", b"abc", b"content-length: 3\r\n"),
        (b"DELETE", b"abc", b"content-length: 3\r\n"),
    ],
)
async def test_framing_of_a_short_body(method: bytes, body: bytes | None, framing: bytes) -> None:
    """A body has its length; a method that expects one and has none says 0; others say nothing."""
    seen = b""

    async def handle(peer: Peer) -> None:
        nonlocal seen
        await peer.head()
        if body:
            seen = await peer.reader.readexactly(len(body))
        await peer.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        await fetch(upstream.pool, RequestHead(method, b"/", []), body)
        assert upstream.requests == [method + b" / HTTP/1.1\r\n" + framing + b"\r\n"]
        assert seen == (body or b"")


@pytest.mark.parametrize(
    "head",
    [
        RequestHead(b"GET", b"/", [(b"x", b"a\r\nEvil: 1")]),
        RequestHead(b"GET", b"/", [(b"x", b"a\nb")]),
        RequestHead(b"GET", b"/", [(b"x", b"a\rb")]),
        RequestHead(b"GET", b"/", [(b"x", b"a\0b")]),
        RequestHead(b"GET", b"/", [(b"", b"a")]),
        RequestHead(b"GET", b"/", [(b"a b", b"a")]),
        RequestHead(b"GET", b"/", [(b"a:", b"a")]),
        RequestHead(b"GET", b"/", [(b"Content-Length", b"1")]),
        RequestHead(b"GET", b"/", [(b"transfer-encoding", b"chunked")]),
        RequestHead(b"GET", b"/", [(b"connection", b"close")]),
        RequestHead(b"GET", b"/", [(b"upgrade", b"h2c")]),
        RequestHead(b"GET", b"/a b", []),
        RequestHead(b"GET", b"/a\r\n", []),
        RequestHead(b"GET", b"/\xc3\xa9", []),
        RequestHead(b"GET", b"/\x7f", []),
        RequestHead(b"GET", b"", []),
        RequestHead(b"G T", b"/", []),
        RequestHead(b"", b"/", []),
        RequestHead(b"CONNECT", b"/", []),
    ],
)
async def test_a_head_that_would_be_read_as_another_is_not_sent(head: RequestHead) -> None:
    """Line ends, foreign framing and bad bytes never leave (RFC 9112 section 11)."""
    async with raw_upstream(answering(OK)) as upstream:
        with pytest.raises(ValueError, match=r"."):
            await upstream.pool.send(head, None, timeout=1)
        assert upstream.connections == 0


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        (Address("http", "api", 80), b"api"),
        (Address("https", "api", 443), b"api"),
        (Address("https", "api", 80), b"api:80"),
        (Address("http", "127.0.0.1", 9000), b"127.0.0.1:9000"),
        (Address("http", "::1", 80), b"[::1]"),
        (Address("http", "::1", 9000), b"[::1]:9000"),
    ],
)
def test_host_names_the_upstream(address: Address, authority: bytes) -> None:
    """The default port is left out, IPv6 stands in brackets (RFC 9110 section 7.2)."""
    assert address.authority == authority


async def test_one_connection_carries_request_after_request() -> None:
    """Sequential requests share a connection; parallel ones have one each."""
    async with raw_upstream(answering(OK)) as upstream:
        for _ in range(5):
            assert await fetch(upstream.pool) == b"ok"
        assert upstream.connections == 1
        await asyncio.gather(*(fetch(upstream.pool) for _ in range(4)))
        assert upstream.connections == 4


async def test_idle_connections_are_closed_after_a_while() -> None:
    """What is idle longer than the limit is closed by us, before the upstream does it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK)
        await peer.until_closed()

    async with raw_upstream(handle, idle_timeout=0.15) as upstream:
        await fetch(upstream.pool)
        assert not upstream.left.is_set()
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    """The oldest are closed."""
    closed = 0

    async def handle(peer: Peer) -> None:
        nonlocal closed
        await peer.head()
        await peer.say(OK)
        await peer.until_closed()
        closed += 1

    async with raw_upstream(handle, max_idle=2) as upstream:
        await asyncio.gather(*(fetch(upstream.pool) for _ in range(5)))
        await asyncio.sleep(0.1)
        assert (upstream.connections, closed) == (5, 3)


async def test_requests_beyond_the_limit_wait_in_order() -> None:
    """At most so many connections; who waits is served first come, first served."""
    order: list[int] = []

    async def numbered(pool: UpstreamPool, number: int) -> None:
        await fetch(pool, RequestHead(b"GET", b"/%d" % number, []))
        order.append(number)

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            await asyncio.sleep(0.01)
            await peer.say(OK)

    async with raw_upstream(handle, max_connections=2) as upstream:
        await asyncio.gather(*(numbered(upstream.pool, number) for number in range(12)))
        assert upstream.connections == 2
        targets = [int(head.split()[1][1:]) for head in upstream.requests]
        assert sorted(targets[:2]) == [0, 1]
        assert all(abs(target - place) <= 1 for place, target in enumerate(targets))


async def test_a_place_that_is_freed_by_closing_goes_to_who_waits() -> None:
    """A connection that is not kept makes room for a new one."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with raw_upstream(answering(answer), max_connections=1) as upstream:
        bodies = await asyncio.gather(*(fetch(upstream.pool) for _ in range(5)))
        assert bodies == [b"ok"] * 5
        assert upstream.connections == 5


async def test_waiting_for_a_connection_ends_at_the_deadline() -> None:
    """A request that gets no connection in its time is timed out, and leaves no trace."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.6)
        await peer.say(OK)
        await peer.until_closed()

    async with raw_upstream(handle, max_connections=1) as upstream:
        first = asyncio.create_task(fetch(upstream.pool))
        await asyncio.sleep(0.05)
        with pytest.raises(UpstreamTimeoutError):
            await upstream.pool.send(GET, None, timeout=0.2)
        assert await first == b"ok"
        assert upstream.connections == 1


async def test_who_stops_waiting_for_a_connection_blocks_nobody() -> None:
    """Who is cancelled just as a connection, or a place for one, is given to it passes it on."""
    answer = OK

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            await asyncio.sleep(0.01)
            await peer.say(answer)

    async with raw_upstream(handle, max_connections=1) as upstream:
        for body in (OK, OK.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n")):
            answer = body
            blocker = asyncio.create_task(fetch(upstream.pool))
            await asyncio.sleep(0.005)
            holder: list[asyncio.Task[bytes]] = []

            async def cancel_next(held: list[asyncio.Task[bytes]] = holder) -> None:
                await fetch(upstream.pool)
                held[0].cancel()

            canceller = asyncio.create_task(cancel_next())
            await asyncio.sleep(0)
            holder.append(asyncio.create_task(fetch(upstream.pool)))
            await asyncio.sleep(0)
            last = asyncio.create_task(fetch(upstream.pool))
            await blocker
            await canceller
            with pytest.raises(asyncio.CancelledError):
                await holder[0]
            assert await asyncio.wait_for(last, 10) == b"ok"


async def test_a_stale_connection_is_replaced_once_for_a_request_that_can_be_repeated() -> None:
    """A kept connection that breaks before a byte of answer: GET is sent again on a fresh one."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK)
        await peer.head()

    async with raw_upstream(handle) as upstream:
        for _ in range(3):
            assert await fetch(upstream.pool) == b"ok"
        assert await fetch(upstream.pool, RequestHead(b"PUT", b"/", []), b"body") == b"ok"


async def test_the_second_try_is_the_last() -> None:
    """A fresh connection that breaks too ends it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        if peer.upstream.connections == 1:
            await peer.say(OK)
            await peer.head()

    async with raw_upstream(handle) as upstream:
        assert await fetch(upstream.pool) == b"ok"
        with pytest.raises(UpstreamUnavailableError):
            await fetch(upstream.pool)
        assert upstream.connections == 2


async def test_a_post_is_never_sent_twice() -> None:
    """What may have had an effect is not repeated (RFC 9110 section 9.2.2)."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK)
        await peer.head()

    async with raw_upstream(handle) as upstream:
        assert await fetch(upstream.pool) == b"ok"
        with pytest.raises(UpstreamUnavailableError):
            await fetch(upstream.pool, RequestHead(b"POST", b"/", []), b"pay")
        assert len(upstream.requests) == 2


async def test_a_request_whose_answer_has_begun_is_never_sent_twice() -> None:
    """One byte of answer, and the second try is off."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK)
        await peer.head()
        await peer.say(b"H")

    async with raw_upstream(handle) as upstream:
        assert await fetch(upstream.pool) == b"ok"
        with pytest.raises(UpstreamUnavailableError):
            await fetch(upstream.pool)
        assert len(upstream.requests) == 2


async def test_a_connection_that_was_closed_while_idle_is_not_used_even_for_post() -> None:
    """A close that has been seen costs nothing."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.reader.read(3)
        await peer.say(OK)

    async with raw_upstream(handle) as upstream:
        for _ in range(3):
            assert await fetch(upstream.pool, RequestHead(b"POST", b"/", []), b"pay") == b"ok"
            await asyncio.sleep(0.05)
        assert upstream.connections == 3


async def test_a_connection_that_is_just_closing_is_not_used() -> None:
    """Between the close and the news of it there is a moment."""
    async with raw_upstream(answering(OK)) as upstream:
        await fetch(upstream.pool)
        [connection] = upstream.pool._idle
        connection.close()
        assert await fetch(upstream.pool, RequestHead(b"POST", b"/", []), b"pay") == b"ok"
        assert upstream.connections == 2


async def test_a_refused_connection_is_unavailable() -> None:
    """Nobody listens: unavailable, at once."""
    async with raw_upstream(answering(OK)) as upstream:
        port = upstream.port
    pool = UpstreamPool(Address("http", "127.0.0.1", port))
    with pytest.raises(UpstreamUnavailableError):
        await pool.send(GET, None, timeout=5)
    await pool.aclose()


async def test_a_name_that_does_not_exist_is_unavailable() -> None:
    """A host that no resolver knows is no host."""
    pool = UpstreamPool(Address("http", "nothing.invalid", 80))
    with pytest.raises((UpstreamUnavailableError, UpstreamTimeoutError)):
        await pool.send(GET, None, timeout=2)
    await pool.aclose()


async def test_refused_connections_free_their_places() -> None:
    """Failures do not use the limit up."""
    async with raw_upstream(answering(OK)) as upstream:
        port = upstream.port
    pool = UpstreamPool(Address("http", "127.0.0.1", port), max_connections=2)
    failed = await asyncio.gather(
        *(pool.send(GET, None, timeout=5) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(error, UpstreamUnavailableError) for error in failed)
    await pool.aclose()


async def test_a_head_that_does_not_come_in_time_is_a_timeout() -> None:
    """The route's time runs to the head of the answer; then the connection is closed."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        begun, watch = time.monotonic(), Stopwatch()
        with pytest.raises(UpstreamTimeoutError):
            await upstream.pool.send(GET, None, timeout=0.2)
        assert watch.seconds() < 0.6
        assert time.monotonic() - begun >= 0.2
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_a_stream_that_talks_outlives_every_timeout() -> None:
    """Only silence ends it: bytes at intervals below the limit go on."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            await asyncio.sleep(0.1)
            await peer.say(b"1\r\na\r\n")
        await peer.say(b"0\r\n\r\n")

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=2.0)
        assert b"".join([piece async for piece in response]) == b"a" * 30


async def test_a_stream_that_falls_silent_is_ended() -> None:
    """Silence has a limit of its own."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=9, silence=0.2)
        assert await response.read() == b"a"
        with pytest.raises(UpstreamTimeoutError):
            await response.read()
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_an_upstream_that_does_not_accept_in_time_is_a_timeout() -> None:
    """A backlog that is full looks like a host that drops packets."""
    pool = UpstreamPool(Address("http", "192.0.2.1", 80), connect_timeout=0.2)
    with pytest.raises((UpstreamTimeoutError, UpstreamUnavailableError)):
        await pool.send(GET, None, timeout=5)
    await pool.aclose()


async def test_closing_a_response_closes_the_connection_at_once() -> None:
    """A client that leaves stops the upstream's work."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        await response.aclose()
        await asyncio.wait_for(upstream.left.wait(), 3)
        with pytest.raises(ClientGoneError):
            await response.read()


async def test_closing_a_response_that_is_whole_leaves_the_connection() -> None:
    """The connection is somebody else's by then."""
    async with raw_upstream(answering(OK)) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert response.complete
        await response.aclose()
        assert await fetch(upstream.pool) == b"ok"
        assert upstream.connections == 1


async def test_cancelling_the_wait_for_the_head_closes_the_connection() -> None:
    """Nobody waits for the answer, so nobody shall work on it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        task = asyncio.create_task(upstream.pool.send(GET, None, timeout=5))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.left.wait(), 3)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"])
async def test_a_client_that_leaves_is_noticed_while_the_upstream_is_slow(head: bytes) -> None:
    """`gone` is watched before the head and after it; when it returns, the exchange ends."""
    left = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(head)
        await peer.until_closed()

    async def gone() -> None:
        await left.wait()

    async def exchange(pool: UpstreamPool) -> None:
        response = await pool.send(GET, None, timeout=5, gone=gone)
        while await response.read():
            pass

    async with raw_upstream(handle) as upstream:
        task = asyncio.create_task(exchange(upstream.pool))
        await asyncio.sleep(0.3)
        assert not task.done()
        left.set()
        with pytest.raises(ClientGoneError):
            await task
        await asyncio.wait_for(upstream.left.wait(), 3)


async def test_the_watch_for_a_leaving_client_ends_with_the_exchange() -> None:
    """Nothing is left waiting for a client whose answer is complete."""
    ended = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.3)
        await peer.say(OK)
        await peer.until_closed()

    async def gone() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5, gone=gone)
        assert await response.read() == b"ok"
        await asyncio.wait_for(ended.wait(), 3)


async def test_closing_the_pool_fails_what_is_under_way() -> None:
    """Exchanges, waiters and later requests all learn that it is closed."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with raw_upstream(handle, max_connections=1) as upstream:
        tasks = [asyncio.create_task(fetch(upstream.pool)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await upstream.pool.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, UpstreamUnavailableError) for result in results)
        with pytest.raises(UpstreamUnavailableError):
            await fetch(upstream.pool)


async def test_nothing_is_left_open() -> None:
    """A closed pool leaves no transport for the garbage collector to complain of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with raw_upstream(answering(OK)) as upstream:
            await asyncio.gather(*(fetch(upstream.pool) for _ in range(10)))
        gc.collect()
        await asyncio.sleep(0)
    assert not [warning for warning in caught if issubclass(warning.category, ResourceWarning)]
