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
    "noughts": (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"0" * 5000 + b"2\r\n\r\n", b"{}"),
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
    assert ways.alike(ways.get(b"%d?q=1&q=2" % number)) == 1
    assert (ways.landed > landed) == (kind not in AT_ONCE)
    _, asked = ways.ask(ways.express, ways.get(b"%d" % number))
    assert b"\r\nauthorization: Bearer access-one\r\n" in asked[0]


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ((), True),
        (("Origin: https://spa.example",), True),
        (("Origin: http://127.0.0.1:8080",), True),
        (("X-Forwarded-For: 192.0.2.1, 192.0.2.9",), True),
        (("X-Forwarded-For: 192.0.2.1, 192.0.2.9", "X-Forwarded-For: 192.0.2.3"), False),
        (("Via: 1.0 front", "Connection: x-a, via", "X-A: 1"), True),
        (("Accept-Encoding: br", "Range: bytes=0-1"), True),
        (("User_Id: 1", "X-User: root", "Authorization: Basic x", "X-B: \xe9 \t b"), True),
        (("If-None-Match: \"a\"", "Accept: */*", "accept: text/plain"), True),
        (("X-Long: " + "a" * 1000,), True),
        (("Connection: keep-alive",), True),
        (("X-Long: " + "a" * 6000,), False),
        (("X-Request-Id: given-by-the-browser",), True),
        (("X-Request-Id: not an id",), True),
        (("X-Request-Id: given-by-the-browser", "x-request-id: and-again"), False),
        (("Referer: a", "Connection: referer, x-request-id", "traceparent: 00-1-2-3"), True),
        (("Referer:", "traceparent: 1", "X-Real-IP: 2"), False),
        (("Referer: ",), False), (("Referer:  a",), False), (("Referer: a ",), False),
        (("Referer:a",), False), (("REFERER: a",), False), (("Referer: \xe9",), False),
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
        assert ways.alike(ways.get(path, *fields)) == known
    assert ways.alike(ways.get(b"kept/0", *fields)) == 0, "that route passes cookies on"


SOME = (
    "X-Request-Id: given-by-the-browser", "X-Forwarded-For: 192.0.2.1", "Referer: http://x/a",
    "X-Real-IP: 192.0.2.1", "If-None-Match: \"a\"", "traceparent: 00-0-0-01", "tracestate: a=b",
    "x-amzn-trace-id: Root=1", "If-Modified-Since: Sun, 22 Nov 2026 10:00:00 GMT",
)  # fmt: skip
OTHERS = (
    "a-b.c_d9",
    "short",
    "not one!",
    "192.0.2.7, 192.0.2.8",
    "::1",
    "[2001:db8::1]:80",
    "unknown",
    "127.0.0.1",
    "x",
    '"b", "c"',
    "*",
    "http://y/\tz?q",
    "cookie: bff=1",
    "00" * 400,
)


@pytest.mark.parametrize("at", range(len(SOME)))
def test_values_that_vary_may_be_others(ways: TwoWays, at: int) -> None:
    """What is known by some values is known by others; and these are judged as ever."""
    assert ways.alike(ways.get(b"0", *SOME)) == 1
    name = SOME[at].partition(": ")[0]
    for value in OTHERS:
        fields = list(SOME)
        fields[at] = f"{name}: {value}"
        assert ways.alike(ways.get(b"0", *fields), times=1) == 1, fields
    for line in (f"{name}:", f"{name}: \x01", f"{name}: a\xff", f"{name} : a", f"{name}: a\r\n b"):
        fields = list(SOME)
        fields[at] = line
        assert ways.alike(ways.get(b"0", *fields)) == 0, fields


def test_a_request_that_looks_like_a_known_one_is_left_alone(ways: TwoWays) -> None:
    """What is refused, has a body, is not a GET, or is not of a route: nothing is begun."""
    get = ways.get(b"0")
    assert ways.alike(get) == 1
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
        assert ways.alike(data) == 0, data


def test_an_empty_line_before_a_request_teaches_nothing(ways: TwoWays) -> None:
    """RFC 9112 section 2.2 lets it stand there; the request's own line is never a field's."""
    late = b"\r\n" + ways.get(b"0", "X-Late: 1")
    assert ways.alike(late) == 0
    assert ways.alike(b"GET /api/1 HTTP/1.1" + late) == 0


def test_a_connection_carries_one_request_after_another(ways: TwoWays) -> None:
    """Kept alive, in turn, of both kinds; and what is sent ahead is answered in order."""
    get, last = ways.get(b"0"), ways.get(b"6")
    assert ways.alike(get, get, get.replace(b"GET", b"DELETE"), get, last) == 4
    assert ways.alike(get + last) == 0
    assert ways.alike(get, get + get + last) == 1
    assert ways.alike(get, (get[:30], get[30:]), get) == 2


def test_what_is_sent_while_an_answer_is_due_waits_for_its_turn(ways: TwoWays) -> None:
    """A request that was taken lands when more comes, and is answered first."""
    slow, get = ways.get(b"%d" % list(ANSWERS).index("slow")), ways.get(b"0")
    assert ways.alike(slow) == 1
    for late in ((get,), (get[:40], get[40:]), (get + get,), (NONSENSE,), (b"\r\n",)):
        assert ways.alike((slow, *late)) == 1


@pytest.fixture
def under_way(ways: TwoWays) -> Iterator[socket.socket]:
    """A connection with a request on it that was taken, and that gets no answer."""
    never = ways.get(b"%d" % list(ANSWERS).index("never"))
    get = ways.get(b"0")
    assert ways.alike(get) == 1
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
    assert ways.alike(slow) == 1
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
    assert ways.alike(ways.get(b"0" + marks.replace(b";", b"") + b"?" + marks + b"%?/.\\")) == 1


NAMES = st.sampled_from(
    ["Accept", "X-Request-Id", "Via", "Connection", "Origin", "X-Forwarded-For", "Cookie", "Te",
     "X-Csrf", "Upgrade", "X-Any", "If-None-Match", "x_y", "Sec-Fetch-Site", "Referer"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["close", "x-any", "via, cookie", "bff=1", "https://spa.example", "0", "1"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=12),
)
PATHS = st.text("0123;=/.%2fF-_~?&#", max_size=8)


@settings(max_examples=60, deadline=None)
@given(path=PATHS, fields=st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_whatever_is_asked_is_the_same(
    ways: TwoWays, path: str, fields: list[tuple[str, str]]
) -> None:
    """Any path and fields, taken or not."""
    lines = [f"{name}: {value}" for name, value in fields]
    ways.alike(ways.get(b"0" + path.encode(), *lines))
