"""Signing in, calling an API and signing out behind nginx and Caddy, by the files of `deploy/`."""

from __future__ import annotations

import asyncio
import json
import ssl
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.site import sign_in, signed_in

from .conftest import COOKIE, KEY, Front, of

PATIENCE = 20.0
NAVIGATES = ("Sec-Fetch-Mode: navigate", "Accept: text/html")
FORGED = (
    "Authorization: Bearer forged", "X-Forwarded-User: forged", "X-Original-URI: /open/forged",
    "X-Original-URL: /open/forged", "X-Original-Method: forged", "X-Forwarded-Uri: /open/forged",
    "X-Forwarded-Method: forged", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: forged",
    "X-Forwarded-Proto: forged", "X-Forwarded-Prefix: /forged", "X-Forwarded-Email: forged",
    "X-Forwarded-Groups: forged", "Forwarded: for=forged", "X-Real-IP: 192.0.2.1",
    "Remote-User: forged", "X-Remote-User: forged", "X-Auth-Request-User: forged",
    "X-Authenticated-User: forged", "X-User: forged", "X-Email: forged", "X-Roles: forged",
    "X-HTTP-Method-Override: forged", "X-Rewrite-URL: /forged", "Client-Cert: forged",
    "X-Bff-Key: forged", "X_Forwarded_User: forged", "X-Forwarded_User: forged",
    "X.Forwarded.User: forged", "X_Original_URI: /open/forged", "Proxy-Authorization: forged",
)  # fmt: skip


async def test_a_user_signs_in_and_calls_the_api(proxy: Front) -> None:
    """The cookie is the prefixed one; the API gets the token, the user's address, and no cookie."""
    async with proxy.browser() as browser:
        page = await sign_in(browser, query="?return_to=/open/page")
        assert page.url == f"{proxy.origin}/open/page"
        assert browser.cookies.get(COOKIE) is not None
        assert browser.cookies.refused == []
        answer = await browser.fetch("/api/orders?a=1&a=2", method="POST", content=b"x" * 70_000)
        assert (answer.status_code, len(answer.content)) == (200, 70_000)
        assert "set-cookie" not in answer.headers
    received = proxy.upstream.requests[-1]
    assert (received.method, received.target) == ("POST", "/api/orders?a=1&a=2")
    (authorization,) = received.field("authorization")
    assert authorization.startswith("Bearer ")
    assert received.field("x-forwarded-for") == ["127.0.0.1"]
    assert received.field("x-forwarded-proto") == ["https"]
    assert received.field("cookie") == []
    assert received.field("x-forwarded-user") == (["alice"] if proxy.asks else [])


async def test_what_pretends_to_be_the_proxy_does_not_pass(proxy: Front) -> None:
    """Neither to the API nor to the judgement, signed in or not, nor by naming it in Connection."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        for forged in (FORGED, ("Connection: close, Authorization, X-Forwarded-User", *FORGED)):
            answer = await proxy.raw("/api/x", *of(browser), *forged)
            assert answer.status == 200
            received = proxy.upstream.requests[-1]
            assert "forged" not in repr(received)
            assert "192.0.2.1" not in repr(received)
            (authorization,) = received.field("authorization")
            assert authorization.startswith("Bearer ey")
            assert received.field("x-forwarded-user") == (["alice"] if proxy.asks else [])
        before = len(proxy.upstream.requests)
        for target in ("/api/x", "/admin/x"):
            assert (await proxy.raw(target, *FORGED)).status == 401
        assert len(proxy.upstream.requests) == before
        assert (await proxy.raw("/open/x", *FORGED)).status == 200
        received = proxy.upstream.requests[-1]
        assert "forged" not in repr(received)
        assert received.field("authorization") == received.field("x-forwarded-user") == []


async def test_the_signed_out_are_told_where_to_sign_in(proxy: Front) -> None:
    """401 with the login's URL; to a navigation a page, or the login and its way back."""
    answer = await proxy.raw("/api/x")
    assert answer.status == 401
    problem = json.loads(answer.body)
    assert (problem["code"], problem["login_url"]) == ("unauthenticated", "/bff/login")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    answer = await proxy.raw("/api/page?a=1&b=//c", *NAVIGATES)
    if not proxy.asks:
        assert (answer.status, answer.headers["content-type"][:9]) == (401, "text/html")
        return
    assert answer.status == 303
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}" == proxy.origin
    assert parse_qs(location.query) == {"return_to": ["/api/page?a=1&b=//c"]}
    async with proxy.browser() as browser:
        await browser.navigate("/api/page?a=1&b=//c")
        page = await browser.submit(button="alice")
        assert (page.status, page.url) == (200, f"{proxy.origin}/api/page?a=1&b=//c")


async def test_the_routes_policies_are_applied(proxy: Front) -> None:
    """403 for the lack of a claim, a step-up for the lack of an `acr`; nothing reaches the API."""
    async with proxy.browser() as browser:
        await sign_in(browser, "bob")
        before = len(proxy.upstream.requests)
        answer = await proxy.raw("/admin/x", *of(browser))
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")
        answer = await proxy.raw("/gold", *of(browser))
        problem = json.loads(answer.body)
        assert (answer.status, problem["code"]) == (401, "step_up_required")
        assert problem["login_url"] == "/bff/login?acr_values=gold"
        assert len(proxy.upstream.requests) == before
    async with proxy.browser() as browser:
        await sign_in(browser, "alice")
        assert (await browser.fetch("/admin/x")).status_code == 200


async def test_other_sites_cannot_act_for_the_user(proxy: Front) -> None:
    """403 `csrf` with each method; the page's own requests pass with the same."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        before = len(proxy.upstream.requests)
        for method in ("GET", "POST", "DELETE"):
            for site in ("cross-site", "same-site"):
                fields = (*of(browser, site), "Origin: https://evil.example", "Content-Length: 0")
                answer = await proxy.raw("/api/x", *fields, method=method)
                assert (answer.status, json.loads(answer.body)["code"]) == (403, "csrf")
        answer = await proxy.raw("/api/x", *of(browser, "none"), method="POST")
        assert answer.status == 403
        assert len(proxy.upstream.requests) == before
        for method in ("GET", "POST", "DELETE"):
            answer = await proxy.raw("/api/x", *of(browser), "Content-Length: 0", method=method)
            assert answer.status == 200


async def test_a_logout_takes_effect_at_once(proxy: Front) -> None:
    """The next request is refused, with a cookie that was kept too."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        kept = of(browser)
        assert (await proxy.raw("/api/x", *kept)).status == 200
        answer = await browser.fetch("/bff/logout", method="POST")
        assert answer.status_code == 200
        before = len(proxy.upstream.requests)
        assert (await proxy.raw("/api/x", *kept)).status == 401
        assert len(proxy.upstream.requests) == before
        assert not await signed_in(browser)


async def test_the_question_itself_cannot_be_asked_from_outside(proxy: Front) -> None:
    """No page and no script gets a token by it, not even with the key."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        for target in (
            "/bff/auth",
            "/bff/auth/api/x",
            "/_bff_auth",
            "/bff/auth?a=b",
            "/bff/%61uth",
        ):
            for fields in ((), (f"X-Bff-Key: {KEY}", "X-Original-URI: /api")):
                answer = await proxy.raw(target, *of(browser), *fields)
                if not (proxy.asks and target == "/_bff_auth" and proxy.program == "caddy"):
                    assert answer.status in {401, 404}
                assert "authorization" not in answer.headers


async def test_a_websocket_passes(proxy: Front) -> None:
    """For our own page only; where the service carries it, it is closed with the session."""
    url = proxy.origin.replace("https", "wss") + "/api/ws"

    def open_as(*fields: str) -> connect:
        headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
        return connect(
            url, additional_headers=headers, ssl=proxy.tls, server_hostname="localhost", proxy=None,
            compression=None,
        )  # fmt: skip

    async with proxy.browser() as browser:
        await sign_in(browser)
        for refused in ((), of(browser, "cross-site"), ("Origin: https://evil.example",)):
            with pytest.raises(InvalidStatus):
                async with open_as(*refused):
                    pass
        async with open_as(*of(browser)) as socket, asyncio.timeout(PATIENCE):
            await socket.send("hello")
            assert await socket.recv() == "hello"
            assert proxy.upstream.requests[-1].field("authorization")[0].startswith("Bearer ")
            assert proxy.upstream.requests[-1].field("cookie") == []
            if not proxy.asks:
                await browser.fetch("/bff/logout", method="POST")
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401


@pytest.mark.parametrize(
    "upgrade",
    [
        ("Upgrade: h2c",),
        ("Upgrade: H2C",),
        ("Upgrade: websocket, h2c",),
        ("Upgrade: h2c, websocket",),
        ("Upgrade: h2c", "Upgrade: websocket"),
        ("Upgrade: websocketx",),
    ],
    ids=str,
)
async def test_nobody_gets_a_tunnel(proxy: Front, upgrade: tuple[str, ...]) -> None:
    """No upgrade to anything but a WebSocket reaches an upstream: nothing checks what follows."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        settings = ("HTTP2-Settings: AAMAAABk", "Connection: Upgrade, HTTP2-Settings")
        for target in ("/api/x", "/open/x"):
            before = len(proxy.upstream.requests)
            answer = await proxy.raw(target, *of(browser), *upgrade, *settings)
            assert answer.status != 101
            for received in proxy.upstream.requests[before:]:
                assert received.field("upgrade") in ([], ["websocket"])


async def test_streams_are_not_gathered(proxy: Front) -> None:
    """An event is here before the next one is made, and a body's first part before its last."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        proxy.upstream.go_on.clear()
        reader, writer = await opened(proxy)
        writer.write(head(proxy, "GET /api/events", *of(browser)))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"data: one\n\n")
            proxy.upstream.go_on.set()
            await reader.readuntil(b"data: two\n\n")
        await closed(writer)

        proxy.upstream.body_began.clear()
        reader, writer = await opened(proxy)
        writer.write(head(proxy, "POST /api/up", *of(browser), "Content-Length: 4") + b"ab")
        await writer.drain()
        assert await asyncio.to_thread(proxy.upstream.body_began.wait, PATIENCE)
        writer.write(b"cd")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).endswith(b"abcd")
        await closed(writer)


async def test_the_events_of_a_session_pass(proxy: Front) -> None:
    """The page hears of its sign-out at once."""
    async with proxy.browser() as browser:
        await sign_in(browser)
        reader, writer = await opened(proxy)
        writer.write(head(proxy, "GET /bff/events", *of(browser)))
        async with asyncio.timeout(PATIENCE):
            assert b" 200 " in await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
            await browser.fetch("/bff/logout", method="POST")
            await reader.readuntil(b"session.ended")
        await closed(writer)


def head(proxy: Front, first: str, *fields: str) -> bytes:
    """Return the head of a request that closes its connection."""
    lines = (f"{first} HTTP/1.1", f"Host: localhost:{proxy.behind.places.port}", *fields)
    return "\r\n".join((*lines, "Connection: close", "", "")).encode()


async def opened(proxy: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the proxy."""
    return await asyncio.open_connection("localhost", proxy.behind.places.port, ssl=proxy.tls)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close it."""
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        return
