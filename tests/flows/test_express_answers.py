"""Answers that are known cannot be told from those that are parsed, by browser or upstream."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.proxy import connection
from tests.support.redis_server import wait_until
from tests.support.two_ways import PATIENCE, TwoWays, two_ways

OFTEN = {
    "plain": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "nothing": b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "fields": b"HTTP/1.1 500 Odd\r\nSet-Cookie: a=b\r\nCache-Control: public, max-age=9\r\n"
    b"Vary: Accept\r\nConnection: X-Gone\r\nX-Gone: 1\r\nStrict-Transport-Security: max-age=1\r\n"
    b"Access-Control-Allow-Origin: *\r\nX-Request-Id: theirs\r\nVia: 1.1 them\r\n"
    b"Content-Length: 3\r\n\r\nbad",
    "no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\nX-Thing: 1\r\n\r\n",
    "not modified": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 0\r\n\r\n',
    "expired": b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno",
    "last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
}
ALIKE = (
    b'HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nETag: "a"\r\nX-Thing: 1\r\n'
    b"Content-Length: 2\r\nx-request-id: theirs\r\nContent-Type: application/json\r\n\r\n{}"
)


@pytest.fixture(scope="module")
def ways(redis_process: str) -> Iterator[TwoWays]:
    """Both ways into one application, and an upstream that is told what to say."""
    with two_ways(redis_process, [OFTEN["plain"]]) as made, pytest.MonkeyPatch.context() as patch:
        # On a busy machine an answer may come so late that the request is one that lasts.
        patch.setattr(connection, "A_MOMENT", PATIENCE)
        yield made


def told(ways: TwoWays, answer: bytes | tuple[bytes, ...], *fields: str) -> int:
    """Let the upstream say this both ways, and see that all is equal; return how much was known."""
    ways.answers.append(answer)
    data = ways.get(b"%d" % (len(ways.answers) - 1), *fields)
    ways.warm()
    ordinary = ways.ask(ways.plain, data)
    ways.warm()
    before = ways.known
    assert ways.ask(ways.express, data) == ordinary, answer
    return ways.known - before


def known(ways: TwoWays, answer: bytes, *fields: str) -> None:
    """See to it that answers like this one are known."""
    ways.alike(ways.get(b"0", *fields))
    wait_until(lambda: told(ways, answer, *fields) == 1, "the answer is known")


@pytest.mark.parametrize(
    "answer",
    [
        ALIKE.replace(b'"a"', b'W/"another"'), ALIKE.replace(b'"a"', b""),
        ALIKE.replace(b'"a"', b'   "a" \t'), ALIKE.replace(b"10:00", b"11:11"),
        ALIKE.replace(b"Sun, 22 Nov 2026 10:00:00 GMT", b"whenever"),
        ALIKE.replace(b"theirs", b"7, 8"), ALIKE.replace(b"th: 2", b"th: 11")[:-2] + b"longer body",
        ALIKE.replace(b"th: 2", b"th: 0")[:-2], ALIKE.replace(b"th: 2", b"th: 00002"),
    ],
)  # fmt: skip
def test_an_answer_that_is_known_is_the_same(ways: TwoWays, answer: bytes) -> None:
    """Its length, body, date, tag and request id may be others; the date is that of our server."""
    known(ways, ALIKE)
    ways.say_first([(b"date", b"Sun, 22 Nov 2026 10:00:00 GMT")])
    assert told(ways, answer) == 1
    ways.say_first([(b"date", b"Sun, 22 Nov 2026 10:00:01 GMT")])
    assert told(ways, ALIKE) == 1
    ways.say_first([])
    assert told(ways, answer) == 1


def test_a_large_answer_after_known_ones_is_the_same(ways: TwoWays) -> None:
    """In one piece or in several."""
    known(ways, ALIKE)
    told(ways, ALIKE.replace(b"th: 2", b"th: 70000")[:-2] + b"\r\n" * 35_000)


@pytest.mark.parametrize(
    "answer",
    [
        ALIKE.replace(b"200", b"201"), ALIKE.replace(b"200", b"204"), ALIKE.replace(b"OK", b"O"),
        ALIKE.replace(b"200 OK", b"304 Not Modified")[:-2],
        ALIKE.replace(b"HTTP/1.1", b"HTTP/1.0"), ALIKE.replace(b"HTTP/1.1 2", b"HTTP/1.1  2"),
        ALIKE.replace(b"200 OK", b"401 No"), b"\r\n" + ALIKE,
        b"HTTP/1.1 103 Early\r\n\r\n" + ALIKE,
        b"HTTP/1.1 103 Early\r\nContent-Length: %d\r\n\r\n" % len(ALIKE) + ALIKE,
        ALIKE.replace(b"th: 2", b"th: 1"), ALIKE.replace(b"th: 2", b"th: 0"),
        ALIKE + b"x", ALIKE + ALIKE, ALIKE + b"\r\n", (ALIKE[:-1], b"close"),
        ALIKE.replace(b"th: 2", b"th: +2"), ALIKE.replace(b"th: 2", b"th: 2 2"),
        ALIKE.replace(b"th: 2", b"th: 2, 2"), ALIKE.replace(b"th: 2", b"th: 0x2"),
        ALIKE.replace(b"th: 2", b"th: "), ALIKE.replace(b"th: 2", b"th:2"),
        ALIKE.replace(b"th: 2", b"th: 9999999999999999999999"),
        ALIKE.replace(b"th: 2", b"th: 2\r\nContent-Length: 2"),
        ALIKE.replace(b"th: 2", b"th: 2\r\nContent-Length: 3"),
        ALIKE.replace(b"th: 2", b"th: 2\r\nTransfer-Encoding: chunked"),
        ALIKE.replace(b"th: 2", b"th: 2\r\n 2"), ALIKE.replace(b"GMT", b"GMT\r\n folded"),
        ALIKE.replace(b"GMT", b"G\nM"), ALIKE.replace(b"GMT", b"G\rM"),
        ALIKE.replace(b"GMT", b"G\0M"), ALIKE.replace(b"GMT", b"G\xe9M"),
        ALIKE.replace(b'"a"', b'"\xe9"'), ALIKE.replace(b'"a"', b'"\x01"'),
        ALIKE.replace(b'"a"', b'"\x7f"'), ALIKE.replace(b'"a"', b'"a"\r\nETag: "b"'),
        ALIKE.replace(b"ETag", b"etag"), ALIKE.replace(b"ETag", b"ETag "),
        ALIKE.replace(b"X-Thing: 1", b"X-Thing: 2"), ALIKE.replace(b"X-Thing: 1\r\n", b""),
        ALIKE.replace(b"X-Thing", b"Connection: close\r\nX-Thing"),
        ALIKE.replace(b"X-Thing", b"Connection: etag\r\nX-Thing"),
        ALIKE.replace(b"X-Thing", b"Set-Cookie: bff=1\r\nX-Thing"),
        (ALIKE[:40], ALIKE[40:]), (ALIKE[:-2], b"{}"), (ALIKE[:-1], b"}"),
    ],
)  # fmt: skip
def test_an_answer_that_looks_like_a_known_one_is_parsed(
    ways: TwoWays, answer: bytes | tuple[bytes, ...]
) -> None:
    """Another byte than in the four values, another length, more or less than one answer."""
    known(ways, ALIKE)
    assert told(ways, answer) == 0
    assert told(ways, ALIKE) == 1


@pytest.mark.parametrize("kind", OFTEN)
def test_what_comes_often_is_known_if_it_can_be(ways: TwoWays, kind: str) -> None:
    """Answers with a length that are whole, and after which the connection goes on."""
    times = [told(ways, OFTEN[kind]) for _ in range(5)]
    assert times[-1] == (kind in {"fields", "plain", "nothing"})


def test_an_interim_answer_is_never_known(ways: TwoWays) -> None:
    """Nor taken for the answer that follows it, which would be left for whoever asks next."""
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n"
    known(ways, ALIKE)
    for _ in range(4):
        assert told(ways, (early, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) == 0
    assert told(ways, (early, ALIKE)) == 0


def test_a_client_that_does_not_read_is_waited_for(ways: TwoWays) -> None:
    """Known answers are not piled up in memory; all of them come, in order, once it reads."""
    answer = ALIKE.replace(b"th: 2", b"th: 30000")[:-2] + b"a" * 30_000
    known(ways, answer)
    data = ways.get(b"%d" % (len(ways.answers) - 1))
    landed, before = ways.landed, ways.known + ways.landed
    sent: list[bytes] = []

    def answered() -> bool:
        return ways.known + ways.landed - before == len(sent)

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", ways.express))
        while ways.landed == landed:
            assert len(sent) < 1000
            client.sendall(data)
            sent.append(data)
            wait_until(answered, "it is answered")
        heard = b""
        while heard.count(b"a" * 30_000) < len(sent):
            came = client.recv(1_000_000)
            assert came
            heard += came
    assert heard.count(b"HTTP/1.1 200 OK") == len(sent)


def test_pages_that_may_read_answers_have_forms_of_their_own(ways: TwoWays) -> None:
    """What is known for our own pages is not told to others, nor the other way."""
    ours, theirs, foreign = (), ("Origin: https://spa.example",), ("Origin: https://x.example",)
    for fields in (ours, theirs, ours, theirs):
        known(ways, ALIKE, *fields)
    assert told(ways, ALIKE, *foreign) == 0, "the request is not known"


ANSWER_NAMES = st.sampled_from(
    ["Date", "ETag", "etag", "X-Request-Id", "Connection", "Content-Length", "Vary", "Set-Cookie",
     "Cache-Control", "X-Any", "Content-Type", "Transfer-Encoding", "Via"]
)  # fmt: skip
ANSWER_VALUES = st.one_of(
    st.sampled_from(["close", "etag", "x-any, date", "bff=1", "*", "2", "chunked", '"a"', ""]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=8),
)


@settings(max_examples=40, deadline=None)
@given(
    fields=st.lists(st.tuples(ANSWER_NAMES, ANSWER_VALUES), max_size=4),
    at=st.integers(0, 4),
    bodies=st.lists(st.binary(max_size=12), min_size=4, max_size=4),
)
def test_whatever_is_answered_is_the_same(
    ways: TwoWays, fields: list[tuple[str, str]], at: int, bodies: list[bytes]
) -> None:
    """Any fields of an answer, again and again with other bodies, known or not."""
    for body in bodies:
        lines = [f"{name}: {value}" for name, value in fields]
        lines.insert(at, f"Content-Length: {len(body)}")
        head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""])
        told(ways, head.encode("latin-1") + body)
