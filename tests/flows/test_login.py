"""Signing in: the callback's steps in their order, and every refusal."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tests.support.site import Site, sign_in, signed_in
from tests.support.user_agent import UserAgent


async def begin(browser: UserAgent, query: str = "") -> dict[str, str]:
    """Begin a login; return the parameters of the authorization request."""
    page = await browser.navigate(f"/bff/login{query}", follow=False)
    assert page.status == 303, page.text
    found = parse_qs(urlsplit(page.headers["location"]).query)
    return {name: values[0] for name, values in found.items()}


async def answer_of_provider(browser: UserAgent, user: str = "alice") -> str:
    """Sign in at the provider but hold its answer back; return the callback's address."""
    await browser.navigate("/bff/login")
    page = await browser.submit(button=user, follow=False)
    return str(page.headers["location"])


async def refused(site: Site, browser: UserAgent, url: str, code: str, reason: str) -> None:
    """Assert that a callback is refused as it should, and that nothing came of it."""
    page = await browser.navigate(url, follow=False)
    assert page.status == 400, page.text
    assert page.headers["content-type"].startswith("text/html")
    assert f">{code}</code>" in page.text
    assert "set-cookie" not in page.headers
    logged = [line["reason"] for line in site.logged(page.headers["x-request-id"])]
    assert set(logged) == {reason}
    failed = site.logged(page.headers["x-request-id"])[0]
    assert failed["event"] in {"login.failed", "request.refused"}


def callback(site: Site, *pairs: tuple[str, str]) -> str:
    """Return the address of the callback with these parameters."""
    return f"{site.base_url}/bff/callback?{urlencode(pairs)}"


async def test_a_login_ends_where_it_was_asked_to(site: Site) -> None:
    """The hop keeps path, query and fragment, and the Strict cookie is there on arrival."""
    async with site.browser() as browser:
        page = await sign_in(browser, query="?return_to=" + quote("/a/b?x=1&y=%2F#top"))
        assert page.url == f"{site.base_url}/a/b?x=1&y=%2F#top"
        assert await signed_in(browser)
        hop = next(visit for visit in browser.visits if "/bff/callback" in visit.url)
        assert (hop.status, hop.headers["cache-control"]) == (200, "no-store")
        assert browser.cookies.refused == []


async def test_the_order_of_the_checks(site: Site) -> None:
    """Duplicates, then `iss`, then `state`, then browser, then login, then `error`, then `code`.

    Each request has all the faults that come later as well, so the first one must be named.
    """
    issuer = ("iss", site.provider.issuer)
    foreign = ("iss", "https://other.example/")
    error = ("error", "access_denied")
    async with site.browser() as browser:
        twice = callback(site, ("state", "a"), ("state", "b"), foreign, error)
        await refused(site, browser, twice, "login_failed", "duplicate_parameter")
        await refused(site, browser, callback(site, foreign, error), "login_failed", "iss_mismatch")
        await refused(site, browser, callback(site, error), "login_failed", "iss_missing")
        await refused(site, browser, callback(site, issuer, error), "login_failed", "no_state")
        unknown = callback(site, issuer, ("state", "x"), error)
        await refused(site, browser, unknown, "login_failed", "no_login_cookie")
        query = await begin(browser)
        await refused(site, browser, unknown, "login_expired", "login_unknown")
        known = ("state", query["state"])
        denied = callback(site, issuer, known, error, ("code", "c"))
        await refused(site, browser, denied, "login_failed", "provider_error_access_denied")
        again = callback(site, issuer, known, ("code", "c"))
        await refused(site, browser, again, "login_expired", "login_unknown")
        known = ("state", (await begin(browser))["state"])
        await refused(site, browser, callback(site, issuer, known), "login_failed", "no_code")
        known = ("state", (await begin(browser))["state"])
        bad_code = callback(site, issuer, known, ("code", "not one of theirs"))
        reason = "token_endpoint_invalid_grant"
        await refused(site, browser, bad_code, "login_failed", reason)
        assert not await signed_in(browser)


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description"])
async def test_no_parameter_of_the_answer_may_come_twice(site: Site, name: str) -> None:
    """Whichever of two values another reader would take, neither is used; the login is not lost."""
    async with site.browser() as browser:
        url = await answer_of_provider(browser)
        doubled = f"{url}&{name}=x&{name}=x"
        await refused(site, browser, doubled, "login_failed", "duplicate_parameter")
        await browser.navigate(url)
        assert await signed_in(browser)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("access_denied", "provider_error_access_denied"),
        ("login_required", "provider_error_login_required"),
        ("<script>alert(1)</script>", "provider_error_other"),
        ("", "provider_error_other"),
        ("\r\nX-Evil: 1", "provider_error_other"),
    ],
)
async def test_an_error_of_the_provider_is_a_page_of_ours(
    site: Site, error: str, reason: str
) -> None:
    """Nothing that came with the error is shown; the log has a word that is ours."""
    async with site.browser() as browser:
        state = (await begin(browser))["state"]
        description = ("error_description", "<b>call 555-1234</b>")
        pairs = (("error", error), ("state", state), ("iss", site.provider.issuer), description)
        await refused(site, browser, callback(site, *pairs), "login_failed", reason)
        assert browser.page is not None
        assert "555-1234" not in browser.page.text
        assert "alert(1)" not in browser.page.text


async def test_an_answer_is_good_once(site: Site) -> None:
    """A callback that is sent again, by the same browser, makes no second session."""
    async with site.browser() as browser:
        url = await answer_of_provider(browser)
        await browser.navigate(url)
        before = browser.cookies.get("bff")
        await refused(site, browser, url, "login_expired", "login_unknown")
        assert browser.cookies.get("bff") == before
        assert await signed_in(browser)


async def test_an_answer_is_good_only_in_the_browser_that_began(site: Site) -> None:
    """Neither without login cookie, nor with another login's, nor can it be used up so."""
    async with site.browser() as victim, site.browser() as attacker:
        url = await answer_of_provider(attacker, "bob")
        await refused(site, victim, url, "login_failed", "no_login_cookie")
        await begin(victim)
        await refused(site, victim, url, "login_expired", "login_unknown")
        assert not await signed_in(victim)
        await attacker.navigate(url)
        assert await signed_in(attacker)


async def test_a_callback_as_a_form_is_judged_alike(site: Site) -> None:
    """`POST /bff/callback` has the same checks; a cross-site POST brings no Lax cookie."""
    async with site.browser() as browser:
        url = await answer_of_provider(browser)
        form = parse_qs(urlsplit(url).query)
        data = {name: values[0] for name, values in form.items()}
        evil = "https://evil.example/"
        page = await browser.navigate(
            "/bff/callback", method="POST", data=data, initiator=evil, follow=False
        )
        assert page.status == 400
        assert not await signed_in(browser)


async def test_two_tabs_sign_in_at_once(site: Site) -> None:
    """Both logins complete; the browser holds the newer session, and the older one has ended."""
    async with site.browser() as first, first.another_tab() as second:
        tabs = (first, second)
        for tab in tabs:
            await tab.navigate("/bff/login")
        pages = [await tab.submit(button="alice", follow=False) for tab in tabs]
        urls = [page.headers["location"] for page in pages]
        assert len([c for c in first.cookies.all() if c.name == "bff-login"]) == 1
        await first.navigate(urls[0])
        older = first.cookies.get("bff")
        assert await signed_in(first)
        page = await second.navigate(urls[1])
        assert page.path == "/"
        newer = second.cookies.get("bff")
        assert newer != older
        assert await signed_in(first)
        assert await signed_in(second)
        stale = await first.fetch("/bff/session", headers={"Cookie": f"bff={older}"})
        assert stale.json()["authenticated"] is False


async def test_the_login_cookie_stays_the_same_size(site: Site) -> None:
    """However many logins are begun, one small cookie serves them all."""
    async with site.browser() as browser:
        await begin(browser)
        size = len(browser.cookies.header(site.base_url))
        for _ in range(20):
            await begin(browser)
        assert len(browser.cookies.header(site.base_url)) == size < 150


async def test_every_login_makes_a_new_session(site: Site) -> None:
    """No session id outlives a login: neither one's own, nor one that somebody planted."""
    async with site.browser() as browser, site.browser() as attacker:
        await sign_in(attacker, "bob")
        planted = attacker.cookies.get("bff")
        browser.cookies.store(site.base_url, f"bff={planted}; Path=/; HttpOnly; SameSite=Strict")
        await sign_in(browser)
        own = browser.cookies.get("bff")
        assert own != planted
        assert not await signed_in(attacker)
        await sign_in(browser)
        assert browser.cookies.get("bff") != own
        for old in (own, planted):
            answer = await attacker.fetch("/api/x", headers={"Cookie": f"bff={old}"})
            assert answer.status_code == 401
        assert await signed_in(browser)


async def test_a_failed_login_leaves_the_session_there_is(site: Site) -> None:
    """Bob's refused login in Alice's browser changes nothing for Alice."""
    async with site.browser() as browser:
        await sign_in(browser)
        cookie = browser.cookies.get("bff")
        state = (await begin(browser))["state"]
        denied = callback(
            site, ("error", "access_denied"), ("state", state), ("iss", site.provider.issuer)
        )
        await refused(site, browser, denied, "login_failed", "provider_error_access_denied")
        assert browser.cookies.get("bff") == cookie
        assert (await browser.fetch("/bff/session")).json()["user"]["sub"] == "alice"
