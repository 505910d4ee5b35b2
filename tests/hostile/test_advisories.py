"""Attacks that worked on others and that no other test here plays: see docs/threats.md."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.support.raw_http import exchange, request
from tests.support.site import Site, open_site, sign_in, signed_in

KEY = "a-key-for-the-reverse-proxy-of-the-tests"
AGENTS = (
    "GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0", "Prometheus/2.53", "curl/8",
    "Amazon CloudFront", "UptimeRobot/2.0", "",
)  # fmt: skip
DECOYS = (
    "/api/x?/open/", "/api/x?path=/open", "/api/open", "/api/x?#/open", "/api/x%23/open",
    "/api/x%3f/open", "/api/open/../x", "/api;/open", "/api/bff/healthz", "/api/x/bff/healthz",
    "/api/healthz", "/api/ping", "/api/robots.txt", "/api/favicon.ico", "/api/x.css", "/API/../api",
    "/api/x\x0a/open", "/api/%0a/open", "/api/x\x00/open",
)  # fmt: skip
SAYS_OTHERWISE = (
    ("X-Forwarded-Uri: /open/x",), ("X-Original-URI: /open/x",), ("X-Original-URL: /open/x",),
    ("X-Rewrite-URL: /open/x",), ("X-Forwarded-Prefix: /open",),
    ("X-HTTP-Method-Override: OPTIONS",),
    ("X-Forwarded-For: 127.0.0.1",), ("X-Real-IP: ::1",), ("X-Forwarded-For: ,;'",),
    ("X-Forwarded-Host: 127.0.0.1", "X-Forwarded-Proto: http"), ("Forwarded: for=127.0.0.1",),
    ("X-Forwarded-User: alice", "X-Forwarded-Email: alice@example.com"),
    ("Authorization: Bearer x",), ("Authorization: Basic YWxpY2U6YWxpY2U=",),
    ("Remote-User: alice",),
    ("X-Middleware-Subrequest: middleware",), (f"X-Bff-Key: {KEY}",), ("Upgrade: h2c",),
)  # fmt: skip
COOKIES = (
    "bff", "bff=", "bff=;bff=", "bff=\x80\xff", "bff=" + "." * 60, "bff=%00", "bff={}", "bff=null",
    "bff=eyJhbGciOiJub25lIn0.e30.", "bff_0=a; bff_1=b", "bff=x; bff_chunks=999999999",
    "bff_session_chunks=2147483648", "mod_auth_openidc_session_chunks=99999999", "bff=%s%n%p%x",
    "; ;,;", '="', "bff=" + "A" * 43 + "." + "A" * 27,
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that a reverse proxy may ask; for it the test is no proxy that is trusted."""
    env = {"BFF_FORWARD_AUTH_KEY": KEY, "BFF_TRUSTED_PROXIES": '["192.0.2.1/32"]'}
    with open_site(tmp_path_factory.mktemp("site"), env) as site:
        yield site


async def refused(site: Site, target: str, *fields: str, method: str = "GET") -> None:
    """Send a request of somebody signed out, which must be refused and reach nothing."""
    before = len(site.upstream.requests)
    answer = await exchange(site.base_url, request(target, *fields, method=method))
    assert answer.status in {400, 401, 404, 405}, (target, fields, answer.status)
    assert b"hello" not in answer.body
    assert "authorization" not in answer.headers
    assert len(site.upstream.requests) == before


@pytest.mark.parametrize("agent", AGENTS)
async def test_no_user_agent_opens_a_route(site: Site, agent: str) -> None:
    """A health checker has two pages of its own, and no others."""
    for target in ("/api/x", "/bff/auth"):
        await refused(site, target, f"User-Agent: {agent}")


@pytest.mark.parametrize("target", DECOYS)
async def test_no_part_of_an_address_is_taken_for_another(site: Site, target: str) -> None:
    """A query, a fragment or a later segment that looks like an open path opens nothing."""
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        await refused(site, target, "Content-Length: 0", method=method)


@pytest.mark.parametrize("fields", SAYS_OTHERWISE, ids=str)
async def test_no_field_opens_a_route(site: Site, fields: tuple[str, ...]) -> None:
    """Whatever a request says of its path, method, address or user."""
    await refused(site, "/api/x", *fields)
    key = () if fields[0].startswith("X-Bff-Key") else (f"X-Bff-Key: {KEY}",)
    await refused(site, "/bff/auth", *fields, *key)


@pytest.mark.parametrize("cookie", COOKIES)
async def test_no_malformed_cookie_opens_a_route(site: Site, cookie: str) -> None:
    """What cannot be read is nobody's: never an error that lets pass, never work without bounds."""
    fields = (f"Cookie: {cookie}", "Sec-Fetch-Site: same-origin")
    await refused(site, "/api/x", *fields)
    for target in ("/bff/auth", "/bff/auth/api/x"):
        await refused(site, target, *fields, f"X-Bff-Key: {KEY}")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1/open/x?", "127.0.0.1/open", "x/../open", "/open/x#", "@/open", "127.0.0.1:/open",
     "evil.example", "127.0.0.1/open/x;", "a b"],
)  # fmt: skip
async def test_the_host_changes_no_path(site: Site, host: str) -> None:
    """The policy is decided on the bytes of the target, never on a URL that is put together."""
    before = len(site.upstream.requests)
    for target in ("/api/x", "//open/x", "http://127.0.0.1/open/../api/x", "@/open/x"):
        answer = await exchange(site.base_url, request(target, host=host))
        assert answer.status in {400, 401, 404}, target
        assert "location" not in answer.headers
    assert len(site.upstream.requests) == before


@pytest.mark.parametrize(
    "place",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example",
     "javascript:alert(1)", "/bff/login"],
)  # fmt: skip
async def test_no_way_out_leads_elsewhere(site: Site, place: str) -> None:
    """The addresses of the sign-out lead home, whatever parameter is tried."""
    names = ("go", "state", "rd", "redirect_uri", "return_to", "post_logout_redirect_uri", "logout")
    for path in ("/bff/logout", "/bff/logged-out"):
        for name in names:
            target = f"{path}?{name}={quote(place, safe='')}"
            answer = await exchange(site.base_url, request(target))
            assert answer.status in {200, 303, 400}
            assert answer.headers.get("location", "/") == "/"
            assert b"evil.example" not in answer.body


async def test_nobody_gets_somebody_elses_token(site: Site) -> None:
    """Refreshes of two users at once, on one connection pool and one worker, stay apart."""
    async with site.browser() as one, site.browser() as other:
        users = {"alice": one, "bob": other}
        for name, browser in users.items():
            await sign_in(browser, name)
        before = len(site.upstream.requests)

        async def use(name: str, place: int) -> None:
            await users[name].fetch("/bff/refresh", method="POST")
            answer = await users[name].fetch(f"/api/{name}/{place}")
            assert answer.status_code == 200

        await asyncio.gather(*(use(name, place) for place in range(8) for name in users))
        for first_line, fields in site.upstream.requests[before:]:
            token = fields["authorization"].removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(token + "=="))
            assert claims["sub"] == first_line.split("/")[2]
        for name, browser in users.items():
            answer = await browser.fetch("/bff/session")
            assert answer.json()["user"]["sub"] == name


async def test_a_login_page_that_is_opened_signs_nobody_out(site: Site) -> None:
    """And a login that is finished leaves no earlier session of the browser behind."""
    async with site.browser() as browser:
        await sign_in(browser)
        kept = browser.cookies.get("bff")
        await browser.navigate("/bff/login?prompt=login")
        assert await signed_in(browser)
        await browser.submit(button="bob")
        assert browser.cookies.get("bff") != kept
        await refused(site, "/api/x", f"Cookie: bff={kept}", "Sec-Fetch-Site: same-origin")
