"""Where an answer ends: every rule of RFC 9112 section 6, by raw bytes on a real socket."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from bff.proxy.upstream import UpstreamPool
from bff.proxy.wire import (
    RequestHead,
    UpstreamProtocolError,
    UpstreamTruncatedError,
    UpstreamUnavailableError,
    judge_head,
)
from tests.support.raw_upstream import Peer, answering, raw_upstream

OK = b"HTTP/1.1 200 OK\r\n"
GET = RequestHead(b"GET", b"/", [(b"host", b"api")])
HEAD = RequestHead(b"HEAD", b"/", [(b"host", b"api")])

WHOLE = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                b"abcde", True),
    "chunked in capitals": (OK + b"transfer-encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a",
                            True),
    "chunk extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", b"abc",
                        True),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
                 b"abc", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", b"a", True),
    "says close": (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
    "says close in a list": (OK + b"Connection: foo, Close\r\nContent-Length: 1\r\n\r\na", b"a",
                             False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "204 with length nought": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"", True),
    "204 that announces a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"",
                                  False),
    "204 chunked": (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b"", False),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a",
                  True),
    "103 first": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
                  + b"Content-Length: 1\r\n\r\na", b"a", True),
    "103 that announces a body": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + OK
                                  + b"Content-Length: 1\r\n\r\na", b"a", False),
    "a byte too many": (OK + b"Content-Length: 3\r\n\r\nabcX", b"abc", False),
    "two empty answers": (2 * (OK + b"Content-Length: 0\r\n\r\n"), b"", False),
    "two answers": (2 * (OK + b"Content-Length: 3\r\n\r\nabc"), b"abc", False),
    "upgrade not asked for": (
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\na", b"a", True),
}  # fmt: skip

REFUSED = {
    "length and chunked":
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked and length":
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths that differ": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths alike": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "length with a sign": OK + b"Content-Length: +3\r\n\r\nabc",
    "length below nought": OK + b"Content-Length: -3\r\n\r\nabc",
    "length in hexadecimal": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "empty length": OK + b"Content-Length: \r\n\r\nabc",
    "length beyond 64 bits": OK + b"Content-Length: 99999999999999999999\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked, gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked twice":
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "xchunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked of a 304 and a length":
        b"HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "chunk size 0x3": OK + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a space": OK + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    "chunk size below nought": OK + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "no chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond 64 bits":
        OK + b"Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc",
    "chunk longer than its size":
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "chunk lines without CR": OK + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "folded line": OK + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "lines without CR": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "CR in a value": OK + b"X-A: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "DEL in a value": OK + b"X-A: a\x7fb\r\nContent-Length: 0\r\n\r\n",
    "control in a value": OK + b"X-A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "no name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"hello\r\n",
    "status 99": b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Now\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc",
    "head of more than 64 KB": OK + b"X-A: " + b"a" * 65_600 + b"\r\n\r\n",
    "many fields of more than 64 KB": OK + b"X-A: b\r\n" * 9_000 + b"\r\n",
    "endless interim answers": b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" * 4_000,
}  # fmt: skip

CUT = {
    "length": OK + b"Content-Length: 10\r\n\r\nabc",
    "chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "no line after the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
}


async def body_of(pool: UpstreamPool, head: RequestHead) -> bytes:
    response = await pool.send(head, None, timeout=5)
    return b"".join([piece async for piece in response])


@pytest.mark.parametrize("case", WHOLE)
async def test_a_whole_answer_gives_its_body_and_the_connection_only_without_doubt(
    case: str,
) -> None:
    """The body is exact, and the next request goes over the same connection only if it may."""
    answer, body, reused = WHOLE[case]
    async with raw_upstream(answering(answer)) as upstream:
        for _ in range(2):
            assert await body_of(upstream.pool, GET) == body
        assert upstream.connections == (1 if reused else 2)


@pytest.mark.parametrize("case", WHOLE)
async def test_an_answer_may_come_byte_by_byte(case: str) -> None:
    """How the bytes are cut into segments changes nothing."""
    answer, body, _ = WHOLE[case]

    async def handle(peer: Peer) -> None:
        await peer.head()
        for byte in answer:
            await peer.say(bytes([byte]))
            await asyncio.sleep(0)

    async with raw_upstream(handle) as upstream:
        assert await body_of(upstream.pool, GET) == body


@pytest.mark.parametrize("case", REFUSED)
async def test_an_answer_of_doubtful_framing_is_refused(case: str) -> None:
    """Whatever two readers could read differently is a protocol error, and ends the connection."""
    async with raw_upstream(answering(REFUSED[case])) as upstream:
        for _ in range(2):
            with pytest.raises(UpstreamProtocolError):
                await body_of(upstream.pool, GET)
        assert upstream.connections == 2


@pytest.mark.parametrize("case", CUT)
async def test_an_answer_cut_short_raises_after_its_bytes(case: str) -> None:
    """What came is given, and then the reader learns that it is not all."""
    async with raw_upstream(answering(CUT[case], close=True)) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"abc"
        with pytest.raises(UpstreamTruncatedError):
            await response.read()
        with pytest.raises(UpstreamTruncatedError):
            await response.read()


async def test_the_end_of_the_connection_ends_a_body_without_length() -> None:
    """Without Content-Length and chunked, the body is all that comes."""
    async with raw_upstream(answering(OK + b"\r\nabc", close=True)) as upstream:
        for _ in range(2):
            assert await body_of(upstream.pool, GET) == b"abc"
        assert upstream.connections == 2


async def test_a_reset_does_not_end_a_body_without_length() -> None:
    """Only an orderly close can be the end of a body."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK + b"\r\nabc")
        await asyncio.sleep(0.05)
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"abc"
        with pytest.raises(UpstreamTruncatedError):
            await response.read()


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
async def test_the_answer_to_head_has_no_body(fields: bytes) -> None:
    """HEAD: the fields stand, no byte is awaited, and the connection is good for GET."""
    answers = (OK + fields + b"\r\n", OK + b"Content-Length: 2\r\n\r\nhi")
    async with raw_upstream(answering(*answers)) as upstream:
        response = await upstream.pool.send(HEAD, None, timeout=5)
        assert response.complete
        assert await response.read() == b""
        assert [name for name, _ in response.headers] == fields.lower().split(b":")[:-1]
        assert await body_of(upstream.pool, GET) == b"hi"


async def test_a_body_in_answer_to_head_is_not_taken_for_the_next_answer() -> None:
    """An upstream that sends a body after all loses the connection."""
    answer = OK + b"Content-Length: 3\r\n\r\nabc"
    async with raw_upstream(answering(answer)) as upstream:
        response = await upstream.pool.send(HEAD, None, timeout=5)
        assert await response.read() == b""
        assert await body_of(upstream.pool, GET) == b"abc"
        assert upstream.connections == 2


async def test_bytes_nobody_asked_for_close_an_idle_connection() -> None:
    """What comes between two exchanges is never an answer to the second."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK + b"Content-Length: 1\r\n\r\na")
        await asyncio.sleep(0.05)
        await peer.say(OK + b"Content-Length: 4\r\n\r\nevil")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        assert await body_of(upstream.pool, GET) == b"a"
        await asyncio.sleep(0.15)
        assert upstream.left.is_set()
        assert await body_of(upstream.pool, GET) == b"a"
        assert upstream.connections == 2


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"3"), (b"content-length", b"3")],
        [(b"content-length", b"3, 3")],
        [(b"content-length", b"+3")],
        [(b"content-length", b"")],
        [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_framing_is_judged_whatever_the_parser_lets_pass(fields: list[tuple[bytes, bytes]]) -> None:
    """The rules do not rest on the strictness of a library."""
    with pytest.raises(UpstreamProtocolError):
        judge_head(b"GET", 200, "1.1", fields)


async def test_trailers_and_chunk_headers_are_bounded() -> None:
    """A trailer section without end is refused, not collected."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ")
        while True:
            await peer.say(b"b" * 10_000)

    async with raw_upstream(handle) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"a"
        with pytest.raises(UpstreamProtocolError):
            await response.read()


async def test_trailers_are_not_merged_into_the_head() -> None:
    """A field that comes after the body is dropped (RFC 9110 section 6.5.1)."""
    async with raw_upstream(answering(WHOLE["trailers"][0])) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"abc"
        assert response.headers == [(b"transfer-encoding", b"chunked")]


async def test_fields_of_interim_answers_are_not_those_of_the_final_one() -> None:
    """Early hints are skipped whole."""
    async with raw_upstream(answering(WHOLE["103 first"][0])) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert (response.status, response.headers) == (200, [(b"content-length", b"1")])


async def test_field_values_are_raw_bytes_in_their_order() -> None:
    """Repeated names stay, bytes beyond ASCII stay, white space around is gone."""
    fields = b"X-A: \xe9\xff\r\nX-B:\t b \t\r\nx-a: 2\r\nX-Empty:\r\nContent-Length: 0\r\n"
    async with raw_upstream(answering(OK + fields + b"\r\n")) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert response.headers == [
            (b"x-a", b"\xe9\xff"), (b"x-b", b"b"), (b"x-a", b"2"), (b"x-empty", b""),
            (b"content-length", b"0"),
        ]  # fmt: skip


async def test_a_connection_closed_without_an_answer_is_unavailable() -> None:
    """A fresh connection that says nothing is not tried again."""

    async def handle(peer: Peer) -> None:
        await peer.head()

    async with raw_upstream(handle) as upstream:
        with pytest.raises(UpstreamUnavailableError):
            await upstream.pool.send(GET, None, timeout=5)
        assert upstream.connections == 1


async def test_half_a_head_is_unavailable() -> None:
    """A head cut short is no answer."""
    async with raw_upstream(answering(b"HTTP/1.1 200 OK\r\nX", close=True)) as upstream:
        with pytest.raises(UpstreamUnavailableError):
            await upstream.pool.send(GET, None, timeout=5)
