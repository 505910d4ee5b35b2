"""What every kind of answer says about itself: security headers, and CORS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.raw_http import RawAnswer, exchange, request
from tests.support.site import Site, open_site, sign_in

SPA = "https://spa.example"
OTHERS = (
    "https://evil.example", "null", "", "https://spa.example.evil.example", "http://spa.example",
    "https://spa.example:444", "https://SPA.example", "https://spa.example/", "*",
)  # fmt: skip
PAGE = ("Sec-Fetch-Mode: navigate", "Accept: text/html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that one more origin may call."""
    folder = tmp_path_factory.mktemp("site")
    with open_site(folder, {"BFF_ALLOWED_ORIGINS": json.dumps([SPA])}) as site:
        yield site


async def get(site: Site, path: str, *fields: str, method: str = "GET") -> RawAnswer:
    """Send one request."""
    return await exchange(site.base_url, request(path, *fields, method=method))


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/bff/logout", 200), ("/bff/callback", 400), ("/none", 404)]
)
async def test_pages_cannot_be_framed_scripted_or_stored(
    site: Site, path: str, status: int
) -> None:
    """A strict policy with one style by nonce, no referrer, no cache (contract, section 6)."""
    answer = await get(site, path, *PAGE)
    assert answer.status == status
    headers = answer.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] in {"no-referrer", "same-origin"}
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "text/html; charset=utf-8"
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert len(nonce) >= 20
    assert nonce not in (await get(site, path, *PAGE)).headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/bff/session", "/bff/healthz", "/bff/nothing", "/api/x"])
async def test_data_is_for_this_origin_alone(site: Site, path: str) -> None:
    """JSON and problems: not stored, not embedded, not sniffed, not rendered."""
    headers = (await get(site, path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] in {"application/json", "application/problem+json"}


async def test_redirects_are_not_stored_and_tell_no_referrer(site: Site) -> None:
    """Login and its way back."""
    for path in ("/bff/login", "/bff/logged-out?state=x", "/bff/logout?go=" + "a" * 43):
        answer = await get(site, path)
        assert answer.status == 303
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.body == b""


async def test_scripts_may_be_loaded_and_checked_again(site: Site) -> None:
    """The browser client has a script's type and is never stale; its types come as text."""
    script = await get(site, "/bff/client.js")
    assert script.headers["content-type"].partition(";")[0] == "text/javascript"
    assert script.headers["cache-control"] == "no-cache"
    assert script.headers["x-content-type-options"] == "nosniff"
    again = await get(site, "/bff/client.js", f"If-None-Match: {script.headers['etag']}")
    assert (again.status, again.body) in {(304, b""), (200, script.body)}


async def test_no_answer_names_its_server(site: Site) -> None:
    """Neither product nor version."""
    for path in ("/", "/bff/session", "/bff/login", "/none", "/a%2fb"):
        assert not {"server", "x-powered-by"} & (await get(site, path)).headers.keys()


async def test_every_answer_has_a_request_id(site: Site) -> None:
    """A good one that came is kept; any other is replaced."""
    for given, kept in (
        ("abcdef-0123456789", True), ("short", False), ("a" * 65, False), ("with space in", False),
        ("<script>alert(1)</script>", False), ("%0d%0aX-Evil:1aaaa", False),
    ):  # fmt: skip
        for path in ("/", "/bff/session", "/bff/client.js", "/none", "/open/x"):
            found = (await get(site, path, f"X-Request-Id: {given}")).headers["x-request-id"]
            assert (found == given) is kept
            assert 8 <= len(found) <= 64


async def test_hsts_is_sent_where_it_is_https_and_only_there(site: Site) -> None:
    """On loopback http it would be ignored at best."""
    assert "strict-transport-security" not in (await get(site, "/")).headers


PATHS = ("/bff/session", "/bff/nothing", "/api/x", "/none", "/a%2fb", "/bff/login?prompt=x", "/")


@pytest.mark.parametrize("path", PATHS)
async def test_an_allowed_origin_may_read_answers_and_errors(site: Site, path: str) -> None:
    """With credentials, by name, never `*`, and caches are told (contract, BFF_ALLOWED_ORIGINS)."""
    headers = (await get(site, path, f"Origin: {SPA}", "Sec-Fetch-Mode: cors")).headers
    assert headers["access-control-allow-origin"] == SPA
    assert headers["access-control-allow-credentials"] == "true"
    assert "origin" in headers["vary"].lower()


@pytest.mark.parametrize("origin", OTHERS)
async def test_no_other_origin_may_read_anything(site: Site, origin: str) -> None:
    """Not by a near miss, not by `null`; the service's own needs none."""
    for path in (*PATHS, "/open/x"):
        for method in ("GET", "OPTIONS", "POST"):
            fields = (f"Origin: {origin}", "Access-Control-Request-Method: GET")
            answer = await get(site, path, *fields, method=method)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_preflight_of_an_allowed_origin_is_answered(site: Site) -> None:
    """204 with methods and headers, for pages and routes, without touching the upstream."""
    before = len(site.upstream.requests)
    for path in ("/bff/session", "/api/x", "/open/x", "/none"):
        answer = await get(
            site, path, f"Origin: {SPA}", "Access-Control-Request-Method: PUT",
            "Access-Control-Request-Headers: x-csrf, content-type", method="OPTIONS",
        )  # fmt: skip
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == SPA
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "*" not in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert "x-csrf" in allowed
        assert "authorization" not in allowed
        assert "origin" in answer.headers["vary"].lower()
    assert len(site.upstream.requests) == before


async def test_what_the_upstream_says_of_cors_does_not_count(site: Site) -> None:
    """An allowed origin gets our word once, also on a route; the answer carries no second one."""
    async with site.browser() as browser:
        await sign_in(browser)
        cookie = f"Cookie: bff={browser.cookies.get('bff')}"
        answer = await get(site, "/api/x", f"Origin: {SPA}", "Sec-Fetch-Site: same-site", cookie)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, SPA)
        refused = await get(
            site, "/api/x", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", cookie
        )
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers


async def test_behind_tls_the_base_url_decides_and_nothing_that_was_sent(tmp_path: Path) -> None:
    """HSTS, prefixed Secure cookies, and URLs of the base URL whatever `Host` says (rule 10)."""
    with open_site(tmp_path, {"BFF_BASE_URL": "https://app.example.com"}) as site:
        forged = (
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Proto: http",
            "Forwarded: host=evil",
        )
        answer = await exchange(
            site.base_url, request("/bff/login", *forged, host="evil.example:8080")
        )
        sent = parse_qs(urlsplit(answer.headers["location"]).query)
        assert sent["redirect_uri"] == ["https://app.example.com/bff/callback"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        name, *attributes = answer.headers["set-cookie"].split("; ")
        assert name.startswith("__Host-Http-bff-login=")
        assert set(attributes) == {"Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"}
        for origin, status in (("https://app.example.com", 200), ("http://evil.example:8080", 403)):
            posted = request(
                "/bff/logout", f"Origin: {origin}", method="POST", host="evil.example:8080"
            )
            assert (await exchange(site.base_url, posted)).status == status
        assert "evil" not in answer.headers["location"]
