"""Answers that come in a form, plain and signed, and signed ones in the address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.site import Site, open_site, signed_in
from tests.support.user_agent import UserAgent


async def choose(browser: UserAgent, user: str = "alice") -> dict[str, str]:
    """Sign in at the provider; return the fields of the form that comes back."""
    await browser.navigate("/bff/login")
    page = await browser.submit(button=user)
    return dict(page.forms[0].fields)


async def errors(site: Site, browser: UserAgent) -> None:
    """`error` comes back in the same form, and ends on a page of ours; nobody is signed in."""
    page = await browser.navigate("/bff/login?prompt=none&max_age=0")
    assert page.status == 400, "a combination that we do not even send"
    await browser.navigate("/bff/login?prompt=none")
    page = await browser.submit()
    assert (page.status, page.path) == (400, "/bff/callback")
    lines = site.logged(page.headers["x-request-id"])
    assert "provider_error_login_required" in [line.get("reason") for line in lines]
    assert not await signed_in(browser)


@pytest.mark.parametrize("mode", ["form_post", "form_post.jwt"])
async def test_oidcc_client_formpost(tmp_path: Path, mode: str) -> None:
    """oidcc-client-test and -form-post-error with forms: cookie for them, no code in a URL."""
    with open_site(tmp_path, {"BFF_RESPONSE_MODE": mode}) as site:
        async with site.browser() as browser:
            begun = await browser.navigate("/bff/login", follow=False)
            assert parse_qs(urlsplit(begun.headers["location"]).query)["response_mode"] == [mode]
            assert "Secure; SameSite=None" in begun.headers["set-cookie"]
            await errors(site, browser)
            fields = await choose(browser)
            signed = mode.endswith("jwt")
            assert fields.keys() == ({"response"} if signed else {"code", "state", "iss"})
            page = await browser.submit()
            assert (page.status, page.path) == (200, "/")
            assert await signed_in(browser)
            secret = fields["response" if signed else "code"]
            assert not [visit.url for visit in browser.visits if secret in visit.url]
        async with site.browser() as browser, site.browser() as other:
            fields = await choose(browser)
            await other.navigate("/bff/login", follow=False)
            page = await other.navigate("/bff/callback", method="POST", data=fields)
            assert (page.status, await signed_in(other)) == (400, False)
