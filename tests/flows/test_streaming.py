"""Bodies that go through the whole service: nothing is held, nothing altered, nothing outlived.

What one connection to an upstream does alone is in `tests/unit/proxy/test_upstream_streaming.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from tests.support.open_proxy import PATIENCE, OpenProxy
from tests.support.raw_http import request, said
from tests.support.raw_upstream import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 200_000_000
MOST_GROWTH = 30_000_000
PIECE = hashlib.shake_256(b"seed").digest(100_000)
HELD = 20_000_000  # what sockets of both sides and our buffers may hold between them


def transport(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """Both directions of a connection; its writer's type knows of one."""
    return cast("asyncio.Transport", writer.transport)


async def settled(figure: Callable[[], int]) -> int:
    """Wait until a figure no longer grows, and return it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            before = figure()
            await asyncio.sleep(0.4)
            if figure() == before:
                return before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def peak(proxy: OpenProxy, work: Coroutine[Any, Any, None]) -> int:
    """Return the most memory that the service held while the work was done."""
    most = proxy.resident
    task = asyncio.create_task(work)
    while not task.done():
        await asyncio.wait([task], timeout=0.02)
        most = max(most, proxy.resident)
    await task
    return most


async def test_two_hundred_megabytes_go_up_and_down_through_little_memory(
    proxy: OpenProxy,
) -> None:
    """Both ways at the full speed of the machine, and every byte is the one that was sent."""
    seen = hashlib.sha256()

    async def handle(peer: Peer) -> None:
        await peer.head()
        left = LARGE
        while left:
            piece = await peer.reader.read(65_536)
            seen.update(piece)
            left -= len(piece)
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // len(PIECE)):
            await peer.say(PIECE)
        await peer.until_closed()

    async def carry() -> None:
        async with proxy.connection() as (reader, writer):
            writer.write(request("/open", f"Content-Length: {LARGE}", method="PUT"))
            for _ in range(LARGE // len(PIECE)):
                writer.write(PIECE)
                await writer.drain()
            assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
            heard = hashlib.sha256()
            while piece := await reader.read(262_144):
                heard.update(piece)
            assert heard.digest() == seen.digest() == whole.digest()

    whole = hashlib.sha256()
    for _ in range(LARGE // len(PIECE)):
        whole.update(PIECE)
    async with proxy.upstream(answer_small):
        assert (await proxy.ask("/open")).status == 200
    before = proxy.resident
    async with proxy.upstream(handle):
        assert await peak(proxy, carry()) - before < MOST_GROWTH


async def answer_small(peer: Peer) -> None:
    await peer.head()
    await peer.say(OK)
    await peer.until_closed()


async def test_a_browser_that_reads_slowly_slows_the_upstream(proxy: OpenProxy) -> None:
    """The upstream is not read meanwhile, no time-out strikes, and all arrives in the end."""
    size = 64_000_000
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.say(PIECE)
            sent += len(PIECE)
        await peer.until_closed()

    async with proxy.upstream(handle), proxy.connection() as (reader, writer):
        writer.write(request("/quick"))
        await reader.readuntil(b"\r\n\r\n")
        transport(writer).pause_reading()
        assert await settled(lambda: sent) < HELD
        await asyncio.sleep(1.7)
        transport(writer).resume_reading()
        total = 0
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(262_144):
                total += len(piece)
        assert total == size


async def test_an_upstream_that_reads_slowly_slows_the_browser(proxy: OpenProxy) -> None:
    """The upload stops after a little, and goes on when the upstream does."""
    size = 64_000_000
    sent = 0
    go_on = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        transport(peer.writer).pause_reading()
        await go_on.wait()
        transport(peer.writer).resume_reading()
        left = size
        while left:
            left -= len(await peer.reader.read(262_144))
        await peer.say(OK)
        await peer.until_closed()

    async def upload(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < size:
            writer.write(PIECE)
            await writer.drain()
            sent += len(PIECE)

    async with proxy.upstream(handle), proxy.connection() as (reader, writer):
        writer.write(request("/open", f"Content-Length: {size}", method="PUT"))
        sending = asyncio.create_task(upload(writer))
        await until(lambda: sent > 0)
        assert await settled(lambda: sent) < HELD
        go_on.set()
        async with asyncio.timeout(PATIENCE):
            await sending
            assert (await reader.read()).endswith(b"\r\n\r\nok")


async def test_a_part_of_a_file_passes_as_it_is(proxy: OpenProxy) -> None:
    """`Range` goes up, 206 comes down, with `Content-Range` and `ETag` (RFC 9110 section 14)."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert b"\r\nrange: bytes=2-4\r\n" in head
        assert b'\r\nif-range: "v1"\r\n' in head
        await peer.say(
            b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nETag: "v1"\r\n'
            b"Accept-Ranges: bytes\r\nContent-Length: 3\r\n\r\ncde"
        )
        await peer.until_closed()

    async with proxy.upstream(handle):
        answer = await proxy.ask("/open", "Range: bytes=2-4", 'If-Range: "v1"')
    assert (answer.status, answer.body) == (206, b"cde")
    assert answer.headers["content-range"] == "bytes 2-4/9"
    assert (answer.headers["etag"], answer.headers["accept-ranges"]) == ('"v1"', "bytes")
    assert answer.headers["content-length"] == "3"


@pytest.mark.parametrize("chunked", [False, True])
async def test_compressed_bodies_pass_byte_for_byte(proxy: OpenProxy, chunked: bool) -> None:
    """Both ways, with their `Content-Encoding`; nothing is unpacked, packed or sniffed."""
    up, down = gzip.compress(b"up" * 5000), gzip.compress(PIECE)
    seen = b""

    async def handle(peer: Peer) -> None:
        nonlocal seen
        head = await peer.head()
        assert b"\r\naccept-encoding: gzip, br;q=0.5\r\n" in head
        assert b"\r\ncontent-encoding: gzip\r\n" in head
        seen = await peer.reader.readexactly(len(up))
        fields = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        if chunked:
            await peer.say(fields + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(down), 4000):
                piece = down[at : at + 4000]
                await peer.say(b"%x\r\n%b\r\n" % (len(piece), piece))
            await peer.say(b"0\r\n\r\n")
        else:
            await peer.say(fields + b"Content-Length: %d\r\n\r\n" % len(down) + down)
        await peer.until_closed()

    async with proxy.upstream(handle):
        answer = await proxy.ask(
            "/open", "Accept-Encoding: gzip, br;q=0.5", "Content-Encoding: gzip",
            f"Content-Length: {len(up)}", method="POST", body=up,
        )  # fmt: skip
    assert (seen, answer.body) == (up, down)
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == (
        "gzip", "Accept-Encoding",
    )  # fmt: skip


async def test_events_go_on_beyond_the_time_of_their_route_while_they_talk(
    proxy: OpenProxy,
) -> None:
    """The time counts to the head, and then from byte to byte."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(8):
            await asyncio.sleep(0.25)
            await peer.say(b"data: %d\n\n" % number)

    async with proxy.upstream(handle):
        answer = await proxy.ask("/quick")
    assert answer.body == b"".join(b"data: %d\n\n" % number for number in range(8))
    assert answer.rest == b""


async def test_events_that_fall_silent_are_ended(proxy: OpenProxy) -> None:
    """The browser sees the stream break off, and the upstream is left."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await peer.until_closed()

    async with proxy.upstream(handle) as upstream:
        heard = await said(proxy.base_url, request("/quick"), PATIENCE)
        await asyncio.wait_for(upstream.left.wait(), PATIENCE)
    assert heard.endswith(b"data: 1\n\n\r\n")


@pytest.mark.parametrize("reset", [False, True])
async def test_an_upstream_that_breaks_off_breaks_the_browsers_answer_off(
    proxy: OpenProxy, reset: bool
) -> None:
    """Closed or reset, announced or chunked: what came is passed on, and then no proper end."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        framing = b"Transfer-Encoding: chunked" if b"/open/c" in head else b"Content-Length: 9"
        piece = b"3\r\nabc\r\n" if b"/open/c" in head else b"abc"
        await peer.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + piece)
        await passed_on.wait()
        if reset:
            raw: socket.socket = peer.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            peer.writer.transport.abort()

    for path, piece in (("/open/c", b"3\r\nabc\r\n"), ("/open/l", b"abc")):
        passed_on = asyncio.Event()
        async with proxy.upstream(handle), proxy.connection() as (reader, writer):
            writer.write(request(path))
            await reader.readuntil(piece)
            passed_on.set()
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""


async def test_a_browser_that_resets_its_connection_ends_the_upstreams_work(
    proxy: OpenProxy,
) -> None:
    """In the midst of a download that fills every buffer, where no read would notice it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await peer.say(PIECE)
        except ConnectionError:
            peer.upstream.left.set()

    async with proxy.upstream(handle) as upstream:
        async with proxy.connection() as (reader, writer):
            writer.write(request("/open"))
            await reader.readuntil(b"\r\n\r\n")
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await asyncio.wait_for(upstream.left.wait(), PATIENCE)
