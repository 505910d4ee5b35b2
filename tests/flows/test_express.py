"""The express way cannot be told from the ordinary one, by browser or upstream."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.proxy import connection
from tests.support.redis_server import wait_until
from tests.support.two_ways import LONG, NEVER, NONSENSE, PATIENCE, TwoWays, two_ways

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
ANSWERS: dict[str, bytes | tuple[bytes, ...]] = {
    "plain": OK,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\nX-Thing: 1\r\n\r\n",
    "not modified": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 9\r\n\r\n',
    "expired": b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n"
    b'WWW-Authenticate: Bearer error="invalid_token"\r\n\r\nno',
    "stronger": b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer "
    b'error="insufficient_user_authentication", acr_values="gold"\r\nContent-Length: 0\r\n\r\n',
    "fields": b"HTTP/1.1 500 Odd\r\nSet-Cookie: a=b\r\nCache-Control: public, max-age=9\r\n"
    b"Vary: Accept\r\nConnection: X-Gone\r\nX-Gone: 1\r\nStrict-Transport-Security: max-age=1\r\n"
    b"Access-Control-Allow-Origin: *\r\nX-Request-Id: theirs\r\nVia: 1.1 them\r\n"
    b"Content-Length: 3\r\n\r\nbad",
    "in pieces": (OK[:20], OK[20:60], OK[60:]),
    "body later": (OK[:-2], b"{}"),
    "to the close": (b"HTTP/1.1 200 OK\r\n\r\nsome", b"more", b"close"),
    "stale": b"",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "last": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "too much": OK + b"HTTP/1.1 200 OK",
    "cut short": (OK[:-1], b"close"),
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"a" * 400_000,
    "events": (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", b"close"),
    "nothing": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "slow": (LONG, OK),
    "never": (NEVER,),
    "old": (b"HTTP/1.0 200 OK\r\n\r\nold", b"close"),
}


AT_ONCE = {
    "plain", "no content", "not modified", "fields", "in pieces", "body later", "chunked",
    "early hints", "last", "too much", "nothing",
}  # fmt: skip


@pytest.fixture(scope="module")
def ways(redis_process: str) -> Iterator[TwoWays]:
    """Both ways into one application."""
    with two_ways(redis_process, list(ANSWERS.values())) as made:
        yield made


def taken(ways: TwoWays, *pieces: bytes | tuple[bytes, ...], times: int = 3) -> int:
    """Send the same both ways, again and again; see that all bytes are equal.

    Returns how many requests were taken the last time.
    """
    before = 0
    for _ in range(times):
        ways.warm()
        ordinary = ways.ask(ways.plain, *pieces)
        ways.warm()
        before = ways.taken
        assert ways.ask(ways.express, *pieces) == ordinary
    return ways.taken - before


@pytest.mark.parametrize("kind", [kind for kind in ANSWERS if kind != "never"])
def test_every_answer_is_the_same(
    ways: TwoWays, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or in pieces, good or broken; and the request to the upstream is the same."""
    if kind in AT_ONCE:
        # On a busy machine the pieces may come so late that the request is one that lasts.
        monkeypatch.setattr(connection, "A_MOMENT", PATIENCE)
    number = list(ANSWERS).index(kind)
    landed = ways.landed
    assert taken(ways, ways.get(b"%d?q=1&q=2" % number)) == 1
    assert (ways.landed > landed) == (kind not in AT_ONCE)
    _, asked = ways.ask(ways.express, ways.get(b"%d" % number))
    assert b"\r\nauthorization: Bearer access-one\r\n" in asked[0]


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ((), True),
        (("Origin: https://spa.example",), True),
        (("Origin: http://127.0.0.1:8080",), True),
        (("X-Forwarded-For: 192.0.2.1, 192.0.2.9", "X-Forwarded-For: 192.0.2.3"), True),
        (("Via: 1.0 front", "Connection: x-a, via", "X-A: 1"), True),
        (("Accept-Encoding: br", "Range: bytes=0-1"), True),
        (("User_Id: 1", "X-User: root", "Authorization: Basic x", "X-B: \xe9 \t b"), True),
        (("If-None-Match: \"a\"", "Accept: */*", "accept: text/plain"), True),
        (("X-Long: " + "a" * 1000,), True),
        (("Connection: keep-alive",), True),
        (("X-Long: " + "a" * 6000,), False),
        (("X-Request-Id: given-by-the-browser",), False),
        (("Cookie: other=1; third=2",), False),
        (("Connection: close",), False),
        (("Content-Length: 0",), False),
        (("Connection: upgrade", "Upgrade: h2c"), False),
    ],
)  # fmt: skip
def test_every_request_that_may_pass_is_the_same(
    ways: TwoWays, fields: tuple[str, ...], known: bool
) -> None:
    """Fields of the browser: the third request like it is known, if it can be at all."""
    for path in (b"0", b"0?a=%00&b", b"0?/../;:@%", b"%31;x=y"):
        assert taken(ways, ways.get(path, *fields)) == known
    assert taken(ways, ways.get(b"kept/0", *fields)) == 0, "that route passes cookies on"


def test_a_request_that_looks_like_a_known_one_is_left_alone(ways: TwoWays) -> None:
    """What is refused, has a body, is not a GET, or is not of a route: nothing is begun."""
    get = ways.get(b"0")
    assert taken(ways, get) == 1
    for data in (
        get.replace(b"same-origin", b"cross-site"),
        get.replace(b"Host: x", b"Host: x\r\nSec-Fetch-Site: none"),
        get.replace(b"/api/0", b"/api/../0"),
        get.replace(b"/api/0", b"/api/0?a#b"), get.replace(b"/api/0", b"/api/0?a b"),
        get.replace(b"/api/0", b"/api/0?\xff"), get.replace(b"/api/0", b"/api/0#"),
        get.replace(b"/api/0", b"http://x/api/0"), get.replace(b"/api/0", b"/elsewhere"),
        get.replace(b"/api/0", b"/bff/session"), get.replace(b"/api/0", b"/api/strict"),
        get.replace(b"/api/0", b"/api/" + b"a" * 20_000),
        get.replace(b"GET", b"HEAD"), get.replace(b"GET", b"DELETE"), get.replace(b"GET", b"TRACE"),
        get.replace(b"GET", b"POST"), get.replace(b"GET", b"get"), get.replace(b"1.1", b"1.0"),
        get.replace(b" HTTP/1.1", b"  HTTP/1.1"), get.replace(b"GET /", b"GET  /"),
        get.replace(b" HTTP/1.1", b" HTTP/1.1 HTTP/1.1"),
        get.replace(b"Host: x", b"Host: x\r\nContent-Length: 2") + b"ab",
        get.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n",
        get.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
        get.replace(b"Host: x", b"Host: x\r\nHost: y"), get.replace(b"Host: x\r\n", b""),
        get.replace(b"Cookie: ", b"X-Cookie: "), get.replace(b"Cookie: bff=", b"Cookie: bff=x"),
        get.replace(b"Cookie: ", b"Cookie: bff=other; "), get.replace(b"Cookie: ", b"Cookie: \0;"),
        get.replace(b"Cookie: ", b"Cookie: a\r\n b; "), get.replace(b"Cookie: ", b"Cookie: a\n;"),
        get.replace(b"Cookie: ", b"Cookie:\r\n "), get.replace(b"Cookie: ", b"Cookie : "),
        get.replace(b"\r\nSec-", b"\r\n folded\r\nSec-"),
    ):  # fmt: skip
        assert taken(ways, data) == 0, data


def test_a_connection_carries_one_request_after_another(ways: TwoWays) -> None:
    """Kept alive, in turn, of both kinds; and what is sent ahead is answered in order."""
    get, last = ways.get(b"0"), ways.get(b"6")
    assert taken(ways, get, get, get.replace(b"GET", b"DELETE"), get, last) == 4
    assert taken(ways, get + last) == 0
    assert taken(ways, get, get + get + last) == 1
    assert taken(ways, get, (get[:30], get[30:]), get) == 2


def test_what_is_sent_while_an_answer_is_due_waits_for_its_turn(ways: TwoWays) -> None:
    """A request that was taken lands when more comes, and is answered first."""
    slow, get = ways.get(b"%d" % list(ANSWERS).index("slow")), ways.get(b"0")
    assert taken(ways, slow) == 1
    for late in ((get,), (get[:40], get[40:]), (get + get,), (NONSENSE,), (b"\r\n",)):
        assert taken(ways, (slow, *late)) == 1


@pytest.fixture
def under_way(ways: TwoWays) -> Iterator[socket.socket]:
    """A connection with a request on it that was taken, and that gets no answer."""
    never = ways.get(b"%d" % list(ANSWERS).index("never"))
    get = ways.get(b"0")
    assert taken(ways, get) == 1
    before = ways.taken
    with socket.create_connection(("127.0.0.1", ways.express), timeout=PATIENCE) as client:
        client.sendall(never)
        wait_until(lambda: ways.taken > before, "the request is taken")
        yield client


def test_who_leaves_is_not_waited_for(ways: TwoWays, under_way: socket.socket) -> None:
    """The request to the upstream ends with the client's connection."""
    left, landed = ways.left, ways.landed
    under_way.close()
    wait_until(lambda: ways.left > left, "the upstream is left too")
    assert ways.landed == landed


def test_a_request_that_lasts_ends_with_its_session(
    ways: TwoWays, under_way: socket.socket
) -> None:
    """Signed out on another worker: 401, at once, as on the ordinary way; so is the next."""
    left = ways.left
    data = ways.get(b"0")
    try:
        ways.sign_out()
        answer = under_way.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"unauthenticated" in answer
        wait_until(lambda: ways.left > left, "the upstream is left too")
        before = ways.taken
        assert ways.ask(ways.express, data)[0].startswith(b"HTTP/1.1 401 ")
        assert ways.taken == before
    finally:
        ways.sign_in()


def test_a_server_that_stops_answers_what_it_has_taken(ways: TwoWays) -> None:
    """The answer says that the connection ends with it."""
    slow = ways.get(b"%d" % list(ANSWERS).index("slow"))
    assert taken(ways, slow) == 1
    before = ways.taken
    with socket.create_connection(("127.0.0.1", ways.express), timeout=PATIENCE) as client:
        client.sendall(slow)
        wait_until(lambda: ways.taken > before, "the request is taken")
        ways.stop()
        heard = b""
        while came := client.recv(65_536):
            heard += came
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in heard
    assert heard.endswith(b"{}")


def test_every_mark_is_read_alike(ways: TwoWays) -> None:
    """All that a path or a query may hold, and no parser stumbles over."""
    marks = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"#%?\\./")
    assert taken(ways, ways.get(b"0" + marks.replace(b";", b"") + b"?" + marks + b"%?/.\\")) == 1


ALIKE = (
    b'HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nETag: "a"\r\nX-Thing: 1\r\n'
    b"Content-Length: 2\r\nx-request-id: theirs\r\nContent-Type: application/json\r\n\r\n{}"
)


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
    taken(ways, ways.get(b"0", *fields))
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


@pytest.mark.parametrize(
    "kind", ["fields", "plain", "nothing", "not modified", "no content", "last", "chunked"]
)
def test_what_comes_often_is_known_if_it_can_be(ways: TwoWays, kind: str) -> None:
    """Answers with a length that are whole, and after which the connection goes on."""
    answer = ANSWERS[kind]
    assert isinstance(answer, bytes)
    times = [told(ways, answer) for _ in range(5)]
    assert times[-1] == (kind in {"fields", "plain", "nothing"})


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


NAMES = st.sampled_from(
    ["Accept", "X-Request-Id", "Via", "Connection", "Origin", "X-Forwarded-For", "Cookie", "Te",
     "X-Csrf", "Upgrade", "X-Any", "If-Match", "x_y", "Sec-Fetch-Site"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["close", "x-any", "via, cookie", "bff=1", "https://spa.example", "0", "1"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=12),
)
PATHS = st.text("0123;=/.%2fF-_~?&#", max_size=8)


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


@settings(max_examples=60, deadline=None)
@given(path=PATHS, fields=st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_whatever_is_asked_is_the_same(
    ways: TwoWays, path: str, fields: list[tuple[str, str]]
) -> None:
    """Any path and fields, taken or not."""
    lines = [f"{name}: {value}" for name, value in fields]
    taken(ways, ways.get(b"0" + path.encode(), *lines))
