"""Signing in without the user, in a hidden frame or a popup, and who is told of it."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.history import Page
from tests.support.site import Site, sign_in, signed_in
from tests.support.user_agent import UserAgent

SILENT = "/bff/login?silent=true"


def told(site: Site, page: Page) -> dict[str, object]:
    """Return what the page tells its opener; nobody else hears it, or may frame the page."""
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"frame-ancestors {site.base_url};" in policy
    assert "unsafe" not in policy
    assert page.headers["cross-origin-opener-policy"] == "unsafe-none"
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == (
        "no-store",
        "no-referrer",
    )
    script = re.search(r'<script nonce="([^"]+)">\s*(.*?)\s*</script>', page.text, re.DOTALL)
    assert script is not None
    assert script[1] == nonce[1]
    call = re.fullmatch(
        r"\(window\.opener \?\? window\.parent\)\.postMessage\((\{.*\}), (\".*\")\);", script[2]
    )
    assert call is not None
    assert json.loads(call[2]) == site.base_url
    message: dict[str, object] = json.loads(call[1])
    assert message.pop("type") == "bff:silent-login"
    return message


async def test_a_user_of_the_provider_is_signed_in(site: Site) -> None:
    """Without a page of the provider's; the opener hears of it, and the session is there."""
    async with site.browser() as browser:
        await sign_in(browser)
        assert (await browser.fetch("/bff/logout", method="POST")).status_code == 200
        assert not await signed_in(browser)
        page = await browser.navigate(SILENT)
        assert (page.status, page.path) == (200, "/bff/callback")
        assert told(site, page) == {"authenticated": True}
        assert await signed_in(browser)


async def test_who_is_no_user_of_the_provider_has_to_sign_in(site: Site) -> None:
    """The opener hears `login_required`, and can send the user to the ordinary sign-in."""
    async with site.browser() as browser:
        page = await browser.navigate(SILENT)
        assert (page.status, page.path) == (400, "/bff/callback")
        assert told(site, page) == {"error": "login_required"}
        assert not await signed_in(browser)


async def test_a_session_that_is_there_stays_when_it_fails(site: Site) -> None:
    """A stronger sign-in needs the user; the one that there is goes on."""
    async with site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate(f"{SILENT}&acr_values=urn:demo:acr:strong")
        assert told(site, page) == {"error": "login_required"}
        assert await signed_in(browser)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("&prompt=login", "bad_request"),
        ("&max_age=0", "bad_request"),
        ("&silent=true", "bad_request"),
        ("&claims=x", "bad_request"),
    ],
)
async def test_a_sign_in_that_cannot_begin_tells_so(site: Site, query: str, error: str) -> None:
    """The opener does not wait in vain."""
    async with site.browser() as browser:
        page = await browser.navigate(SILENT + query, follow=False)
        assert page.status == 400
        assert told(site, page) == {"error": error}


async def test_a_frame_that_lost_its_login_tells_so(site: Site) -> None:
    """Nothing is known of the login any more, but the browser says that it is a frame."""
    async with site.browser() as browser:
        frame = {"Sec-Fetch-Dest": "iframe"}
        url = f"/bff/callback?state=x&code=y&iss={site.provider.issuer}"
        answer = await browser.fetch(url, headers=frame)
        assert answer.status_code == 400
        assert '"error": "login_failed"' in answer.text
        answer = await browser.fetch(url, headers={"Sec-Fetch-Dest": "document"})
        assert "postMessage" not in answer.text


async def test_the_log_has_the_reason(site: Site) -> None:
    """The page is told no more than it must know; the log has it all."""
    async with UserAgent(site.base_url) as browser:
        page = await browser.navigate(SILENT)
        logged = site.logged(page.headers["x-request-id"])
        assert {line["reason"] for line in logged if line["event"] == "login.failed"} == {
            "provider_error_login_required"
        }


async def test_an_ordinary_sign_in_is_told_to_nobody(site: Site) -> None:
    """`prompt=none` by itself is a navigation like any other."""
    async with site.browser() as browser:
        page = await browser.navigate("/bff/login?prompt=none")
        assert "postMessage" not in page.text
        assert page.headers["x-frame-options"] == "DENY"
