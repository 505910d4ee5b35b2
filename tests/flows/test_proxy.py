"""The proxy over real sockets: exact bytes in front, a scripted upstream behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Cast, DevProvider, Service, free_port
from tests.support.raw_http import RawAnswer, exchange, parse, request, said
from tests.support.raw_upstream import Handler, Peer, answering, raw_upstream
from tests.support.user_agent import UserAgent

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
SAME = "Sec-Fetch-Site: same-origin"
Upstream = dict[str, Any]


@dataclass
class Place:
    """The service, the port of its upstream, and who signs people in."""

    service: Service
    provider: DevProvider
    port: int

    async def ask(self, target: str | bytes, *fields: str, **options: Any) -> RawAnswer:
        """Send one request, byte for byte, and return the answer."""
        return await exchange(self.service.base_url, request(target, *fields, **options))

    def upstream(self, handler: Handler) -> Any:
        """Run an upstream for as long as a test needs it."""
        return raw_upstream(handler, port=self.port)


@pytest.fixture(scope="module")
def place(redis_process: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The service with a route of every kind, all to one address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    routes: dict[str, Upstream | str] = {
        "/api": url,
        "/open": {"upstream": url, "auth": "none"},
        "/maybe": {"upstream": url, "auth": "optional"},
        "/machine": {"upstream": url, "auth": "client"},
        "/strip": {"upstream": url + "/base", "auth": "none", "strip_prefix": True},
        "/cookies": {"upstream": url, "auth": "none", "cookies": True},
        "/orders": {"upstream": url, "scopes": ["orders:read"]},
        "/never": {"upstream": url, "scopes": ["no:such"]},
        "/admin": {"upstream": url, "claims": {"roles": ["admin"]}},
        "/mfa": {"upstream": url, "acr": "urn:example:mfa"},
        "/quick": {"upstream": url, "auth": "none", "timeout": 0.5},
        "/down": {"upstream": f"http://127.0.0.1:{free_port()}", "auth": "none"},
    }
    with ExitStack() as stack:
        cast = Cast(stack, tmp_path_factory.mktemp("proxy"), redis_process)
        provider = cast.provider()
        settings = {**provider.settings(), "BFF_ROUTES": json.dumps(routes)}
        yield Place(cast.service(settings), provider, port)


@pytest.fixture
async def alice(place: Place) -> AsyncIterator[UserAgent]:
    """A browser with Alice signed in."""
    async with UserAgent(place.service.base_url) as browser:
        await browser.navigate("/bff/login")
        await browser.submit(button="alice")
        yield browser


def cookie_of(browser: UserAgent) -> str:
    value = browser.cookies.get("bff")
    assert value is not None
    return f"bff={value}"


async def test_a_request_goes_out_with_the_token_and_without_the_cookie(
    place: Place, alice: UserAgent
) -> None:
    """Path and query as they came, our fields added, whatever names a caller dropped."""
    async with place.upstream(answering(OK)) as upstream:
        answer = await place.ask(
            "/api/a%20b/%C3%A9/+~:@%2B'?b=2&a=%20&b=1&c", f"Cookie: a=1; {cookie_of(alice)}", SAME,
            "Authorization: Basic eDp5", "X-Forwarded-For: 6.6.6.6", "X_User: evil", "X-Odd: \xe9",
            "X-User: evil", "Remote-User: evil", "X-Request-Id: a-good-request-id",
        )  # fmt: skip
        assert (answer.status, answer.body) == (200, b"ok")
        [head] = upstream.requests
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    assert first == "GET /api/a%20b/%C3%A9/+~:@%2B'?b=2&a=%20&b=1&c HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in lines)
    token = fields.pop("authorization")
    assert token.startswith("Bearer ")
    assert fields.pop("via").startswith("1.1 bff-")
    assert fields == {
        "host": f"127.0.0.1:{place.port}", "sec-fetch-site": "same-origin", "x-odd": "\xe9",
        "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http",
        "x-forwarded-host": place.service.base_url.removeprefix("http://"),
        "x-request-id": "a-good-request-id",
    }  # fmt: skip
    assert token.removeprefix("Bearer ") not in place.service.process.text()
    assert answer.headers["cache-control"] == "no-store"
    assert "Cookie" in answer.headers["vary"]
    assert answer.headers["x-request-id"] == "a-good-request-id"


@pytest.mark.parametrize(
    "path",
    ["/open/..%2f", "/open/%2e%2e/x", "/open//x", "/open/..;/x", "/open/%5c", "/open/%00",
     "/open/%zz", "/open/.", "/open/\\x", "/%6fpen/../x", "/open/%c0%ae%c0%ae/"],
)  # fmt: skip
async def test_a_dangerous_path_reaches_no_upstream(place: Place, path: str) -> None:
    """400 before any policy."""
    async with place.upstream(answering(OK)) as upstream:
        answer = await place.ask(path)
        assert answer.status == 400
        assert upstream.connections == 0


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/strip", "/base"),
        ("/strip/", "/base/"),
        ("/strip/a/../b", None),
        ("/%73trip/%61?x=/../", "/base/%61?x=/../"),
        ("/strip/a;b=c/d?", "/base/a;b=c/d"),
        ("/open?", "/open"),
        ('/open/"<>|^`{}[]', '/open/"<>|^`{}[]'),
        ("/open?a=\"'<>|^`{}[]\\", "/open?a=\"'<>|^`{}[]\\"),
        ("/%6f%70en/x", "/%6f%70en/x"),
    ],
)
async def test_the_target_is_what_came_in(place: Place, target: str, sent: str | None) -> None:
    """Byte for byte, under the base path, the prefix off where asked."""
    async with place.upstream(answering(OK)) as upstream:
        answer = await place.ask(target)
        seen = [head.split(b" ")[1].decode() for head in upstream.requests]
        assert (answer.status, seen) == ((200, [sent]) if sent else (400, []))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([SAME], 200),
        (["Sec-Fetch-Site: none"], 200),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
        ([SAME, SAME], 403),
        (["Origin: https://evil.example"], 403),
        (["Origin: null"], 403),
        (["X-CSRF: 1"], 200),
        ([], 403),
    ],
)
@pytest.mark.parametrize("route", ["/api", "/open", "/maybe"])
async def test_a_request_with_our_cookie_must_come_from_our_page(
    place: Place, alice: UserAgent, fields: list[str], status: int, route: str
) -> None:
    """On every route, whatever its kind; the upstream hears of no other."""
    async with place.upstream(answering(OK)) as upstream:
        answer = await place.ask(route, f"Cookie: {cookie_of(alice)}", *fields)
        assert answer.status == status
        assert len(upstream.requests) == (status == 200)
        if status == 403:
            assert json.loads(answer.body)["code"] == "csrf"


async def test_kinds_of_sign_in(place: Place, alice: UserAgent) -> None:
    """`user` needs a session, `optional` may have one, `none` and `client` do not look."""
    async with place.upstream(answering(OK)) as upstream:
        refused = await place.ask("/api/x")
        assert (refused.status, json.loads(refused.body)["login_url"]) == (401, "/bff/login")
        assert not upstream.requests
        cookie = f"Cookie: {cookie_of(alice)}"
        for target, fields in [
            ("/maybe", [cookie, SAME]), ("/maybe", []), ("/open", [cookie, SAME]),
            ("/machine", []), ("/machine", [cookie, SAME]),
        ]:  # fmt: skip
            assert (await place.ask(target, *fields)).status == 200
        tokens = [
            head.partition(b"authorization: ")[2].split(b"\r\n")[0] for head in upstream.requests
        ]
    assert [bool(token) for token in tokens] == [True, False, False, True, True]
    assert tokens[3] == tokens[4] != tokens[0]


async def test_policies_of_routes(place: Place, alice: UserAgent) -> None:
    """Scopes and claims refuse with 403, a missing acr asks for a better sign-in."""
    fields = (f"Cookie: {cookie_of(alice)}", SAME)
    async with place.upstream(answering(OK)):
        assert (await place.ask("/orders", *fields)).status == 200
        assert (await place.ask("/admin", *fields)).status == 200
        never = await place.ask("/never", *fields)
        assert (never.status, json.loads(never.body)["code"]) == (403, "forbidden")
        step_up = await place.ask("/mfa", *fields)
        problem = json.loads(step_up.body)
    assert (step_up.status, problem["code"]) == (401, "step_up_required")
    assert problem["login_url"] == "/bff/login?acr_values=urn%3Aexample%3Amfa"


async def test_what_an_upstream_may_not_say_is_dropped(place: Place) -> None:
    """Policies of our origin, cookies, and everything of one connection."""
    answer_head = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nStrict-Transport-Security: max-age=1\r\n"
        b'Access-Control-Allow-Origin: *\r\nClear-Site-Data: "*"\r\nX-Hop: 1\r\n'
        b'Connection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nETag: "1"\r\n'
        b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n"
    )
    async with place.upstream(answering(answer_head)):
        answer = await place.ask("/open")
        with_cookies = await place.ask("/cookies", "Cookie: a=1; bff-login=x; b=2")
    dropped = {"set-cookie", "strict-transport-security", "access-control-allow-origin",
               "clear-site-data", "x-hop", "keep-alive"}  # fmt: skip
    assert not dropped & set(answer.headers)
    assert (answer.headers["etag"], answer.headers["content-encoding"]) == ('"1"', "gzip")
    assert answer.body == b"\x1f\x8b"
    assert "cache-control" not in answer.headers
    assert with_cookies.headers["set-cookie"] == "a=1"


async def test_cookies_pass_where_a_route_says_so_but_never_ours(place: Place) -> None:
    """Neither ours to the upstream, nor the upstream's for ours to the browser."""
    evil = b"HTTP/1.1 204 No\r\nSet-Cookie: bff=evil\r\nSet-Cookie: =bff=evil\r\n\r\n"
    async with place.upstream(answering(evil)) as upstream:
        answer = await place.ask("/cookies", "Cookie: a=1; bff-login=x; b=2")
        assert b"\r\ncookie: a=1; b=2\r\n" in upstream.requests[0]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("method", "answer", "status", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "5"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (
            "GET",
            b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
            302,
            "0",
        ),
        ("DELETE", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "0"),
    ],
)
async def test_answers_without_body(
    place: Place, method: str, answer: bytes, status: int, length: str | None
) -> None:
    """Whatever their fields say, no body follows, and redirects are passed on."""
    async with place.upstream(answering(answer)):
        heard = await said(place.service.base_url, request("/open", method=method))
    head, _, rest = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert rest == b""
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert fields.get(b"content-length") == (None if length is None else length.encode())


async def test_an_upstream_that_is_down_and_one_that_is_slow(place: Place) -> None:
    """502 and 504, as problem details without a word of our inside."""

    async def slow(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    down = await place.ask("/down")
    async with place.upstream(slow) as upstream:
        late = await place.ask("/quick")
        await asyncio.wait_for(upstream.left.wait(), 10)
    async with place.upstream(answering(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n")):
        broken = await place.ask("/open")
    codes = [(one.status, json.loads(one.body)["code"]) for one in (down, late, broken)]
    assert codes == [
        (502, "upstream_unavailable"), (504, "upstream_timeout"), (502, "upstream_unavailable"),
    ]  # fmt: skip
    assert b"127.0.0.1" not in down.body + late.body + broken.body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
async def test_an_answer_cut_short_never_looks_whole(place: Place, answer: bytes) -> None:
    """The browser's connection ends before the announced end."""
    async with place.upstream(answering(answer, close=True)):
        heard = await said(place.service.base_url, request("/open"))
    head, _, rest = heard.partition(b"\r\n\r\n")
    if b" 502 " in head.split(b"\r\n")[0]:
        assert b"zz" in answer
    elif b"content-length: 10" in head:
        assert rest == b"abc"
    else:
        assert rest == b"3\r\nabc\r\n"


async def test_a_stream_arrives_piece_by_piece(place: Place) -> None:
    """Nothing waits for the end of an answer, nor for the end of a request."""
    seen = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        assert await peer.reader.readuntil(b"one\r\n")
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert await peer.reader.readuntil(b"two\r\n0\r\n\r\n")
        await peer.say(b"data: 2\n\n")
        await seen.wait()

    async with place.upstream(handle):
        reader, writer = await _open(place)
        writer.write(b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\none\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"data: 1\n\n\r\n")
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        assert await reader.readuntil(b"data: 2\n\n\r\n")
        seen.set()
        assert await reader.readuntil(b"0\r\n\r\n")
        await _shut(writer)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_ends_the_upstreams_work(place: Place, begun: bool) -> None:
    """Before the answer and within it."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        if begun:
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.until_closed()

    async with place.upstream(handle) as upstream:
        reader, writer = await _open(place)
        writer.write(request("/open"))
        if begun:
            await reader.readuntil(b"\r\n\r\na")
        await asyncio.sleep(0.1)
        assert not upstream.left.is_set()
        await _shut(writer)
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_a_client_that_leaves_after_its_upload_ends_the_upstreams_work(place: Place) -> None:
    """The end of a streamed body is where the watch for the client begins."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.until_closed()

    async with place.upstream(handle) as upstream:
        _, writer = await _open(place)
        writer.write(b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\none\r\n")
        await asyncio.sleep(0.3)
        writer.write(b"0\r\n\r\n")
        await asyncio.sleep(0.3)
        assert not upstream.left.is_set()
        await _shut(writer)
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_an_upload_that_breaks_off_breaks_off_upstream(place: Place) -> None:
    """The upstream never sees the end of a body that has none."""
    rest = b""

    async def handle(peer: Peer) -> None:
        nonlocal rest
        await peer.head()
        rest = await peer.reader.read()
        peer.upstream.left.set()

    async with place.upstream(handle) as upstream:
        _, writer = await _open(place)
        writer.write(b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\none\r\n")
        await asyncio.sleep(0.2)
        await _shut(writer)
        await asyncio.wait_for(upstream.left.wait(), 10)
    assert rest == b"3\r\none\r\n"


async def test_an_upload_that_stalls_is_refused(place: Place) -> None:
    """The browser is told that its request was at fault, not the upstream."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with place.upstream(handle) as upstream:
        reader, writer = await _open(place)
        writer.write(b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        assert b" 400 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await asyncio.wait_for(upstream.left.wait(), 10)
        await _shut(writer)


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies_pass_whole_both_ways(place: Place, chunked: bool) -> None:
    """Twenty megabytes up and down, the same bytes at the other end."""
    body = hashlib.shake_256(b"seed").digest(1_000_000) * 20

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert (b"content-length: %d\r\n" % len(body) in head) is not chunked
        if chunked:
            content = b""
            while size := int(await peer.reader.readline(), 16):
                content += await peer.reader.readexactly(size)
                await peer.reader.readline()
        else:
            content = await peer.reader.readexactly(len(body))
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        await peer.say(content)
        await peer.until_closed()

    fields = ["Transfer-Encoding: chunked"] if chunked else [f"Content-Length: {len(body)}"]
    sent = body
    if chunked:
        sent = b"".join(
            b"%x\r\n%b\r\n" % (len(body[at : at + 70_000]), body[at : at + 70_000])
            for at in range(0, len(body), 70_000)
        ) + b"0\r\n\r\n"  # fmt: skip
    async with place.upstream(handle):
        answer = await place.ask("/open", *fields, method="POST", body=sent)
    assert answer.status == 200
    assert answer.body == body


async def test_a_client_that_waits_for_100_is_told_to_go_on(place: Place) -> None:
    """The expectation is met here and not passed on (RFC 9110 section 10.1.1)."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert b"expect" not in head.lower()
        assert await peer.reader.readexactly(4) == b"body"
        await peer.say(OK)
        await peer.until_closed()

    async with place.upstream(handle):
        reader, writer = await _open(place)
        writer.write(request("/open", "Content-Length: 4", "Expect: 100-continue", method="PUT"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert parse(await reader.read()).body == b"ok"
        await _shut(writer)


async def test_an_early_answer_reaches_the_browser(place: Place) -> None:
    """A refusal does not wait for the end of the body."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    async with place.upstream(answering(refusal)):
        reader, writer = await _open(place)
        writer.write(b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc")
        assert b" 413 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await _shut(writer)


async def test_our_own_request_does_not_go_round(place: Place) -> None:
    """What has our pseudonym in Via came from us (RFC 9110 section 7.6.3)."""
    async with place.upstream(answering(OK)) as upstream:
        await place.ask("/open", "Via: 1.1 other")
        via = upstream.requests[0].partition(b"via: ")[2].split(b"\r\n")[0].decode()
        assert via.startswith("1.1 other, 1.1 bff-")
        assert (await place.ask("/open", f"Via: {via}")).status == 508


INVALID = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\n'
    b"Content-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("body", [b"", b"a body that can be sent again"])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_refused_token_is_refreshed_once_and_the_request_sent_again(
    place: Place, alice: UserAgent, body: bytes, pieces: int
) -> None:
    """The upstream sees the same request with another token, and the browser only the answer."""
    bodies: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            bodies.append(await peer.reader.readexactly(len(body)))
            await peer.say(INVALID if len(peer.upstream.requests) == 1 else OK)

    async with place.upstream(handle) as upstream:
        reader, writer = await _open(place)
        writer.write(
            request("/api/pay?x=1", f"Cookie: {cookie_of(alice)}", SAME,
                    f"Content-Length: {len(body)}", method="POST")
        )  # fmt: skip
        for part in (body,) if pieces == 1 else (body[:3], body[3:]):
            await asyncio.sleep(0.05)
            writer.write(part)
        answer = parse(await reader.read())
        await _shut(writer)
        first, second = upstream.requests
    assert (answer.status, answer.body, bodies) == (200, b"ok", [body, body])
    assert _token(first) != _token(second)
    assert first.split(b"\r\n")[0] == second.split(b"\r\n")[0] == b"POST /api/pay?x=1 HTTP/1.1"


async def test_a_token_that_is_refused_again_is_not_tried_a_third_time(
    place: Place, alice: UserAgent
) -> None:
    """The second 401 is the answer."""
    async with place.upstream(answering(INVALID)) as upstream:
        answer = await place.ask("/api", f"Cookie: {cookie_of(alice)}", SAME)
        assert answer.status == 401
        assert len(upstream.requests) == 2


async def test_without_a_new_token_a_refused_request_is_not_repeated(
    redis_process: str, tmp_path: Path
) -> None:
    """A session without refresh token has nothing better to offer: the 401 is passed on."""
    port = free_port()
    with ExitStack() as stack:
        cast = Cast(stack, tmp_path, redis_process)
        provider = cast.provider()
        settings = {
            **provider.settings(), "BFF_SCOPES": "openid profile",
            "BFF_ROUTES": json.dumps({"/api": f"http://127.0.0.1:{port}"}),
        }  # fmt: skip
        place = Place(cast.service(settings), provider, port)
        async with (
            UserAgent(place.service.base_url) as browser,
            place.upstream(answering(INVALID)) as upstream,
        ):
            await browser.navigate("/bff/login")
            await browser.submit(button="alice")
            answer = await place.ask("/api", f"Cookie: {cookie_of(browser)}", SAME)
            assert (answer.status, len(upstream.requests)) == (401, 1)


async def test_other_refusals_and_large_bodies_are_passed_on(
    place: Place, alice: UserAgent
) -> None:
    """Only `invalid_token` is met by a refresh, and only where the body is still here."""
    fields = (f"Cookie: {cookie_of(alice)}", SAME)
    plain = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n"
    async with place.upstream(answering(plain)) as upstream:
        answer = await place.ask("/api", *fields)
        assert (answer.status, len(upstream.requests)) == (401, 1)

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(100_000)
        await peer.say(INVALID)
        await peer.until_closed()

    async with place.upstream(handle) as upstream:
        answer = await place.ask(
            "/api", *fields, "Content-Length: 100000", method="POST", body=b"a" * 100_000
        )
        assert (answer.status, len(upstream.requests)) == (401, 1)


async def test_a_stream_ends_with_its_session(place: Place, alice: UserAgent) -> None:
    """Signing out anywhere closes what is open; an answer that has not begun becomes a 401."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        if b"/api/stream" in head:
            await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.until_closed()

    async with place.upstream(handle) as upstream:
        fields = (f"Cookie: {cookie_of(alice)}", SAME)
        stream = asyncio.create_task(said(place.service.base_url, request("/api/stream", *fields)))
        waiting = asyncio.create_task(place.ask("/api/wait", *fields))
        await asyncio.sleep(0.5)
        assert not stream.done()
        assert (await alice.fetch("/bff/logout", method="POST")).status_code == 200
        heard = await asyncio.wait_for(stream, 10)
        assert heard.endswith(b"1\r\na\r\n")
        answer = await asyncio.wait_for(waiting, 10)
        assert (answer.status, json.loads(answer.body)["code"]) == (401, "unauthenticated")
        assert upstream.left.is_set()


def _token(head: bytes) -> bytes:
    return head.partition(b"authorization: Bearer ")[2].split(b"\r\n")[0]


async def _open(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = place.service.base_url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()
