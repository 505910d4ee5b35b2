"""Who may sign a browser out, or refresh: our own page, and the origins that were allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.raw_http import exchange, request
from tests.support.site import Site, open_site, sign_in, signed_in

SPA = "https://spa.example"
OWN = "OWN"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that one more origin may call."""
    folder = tmp_path_factory.mktemp("site")
    with open_site(folder, {"BFF_ALLOWED_ORIGINS": json.dumps([SPA])}) as site:
        yield site


ALLOWED: list[tuple[str, ...]] = [
    ("Sec-Fetch-Site: same-origin",),
    ("Sec-Fetch-Site: same-origin", f"Origin: {OWN}"),
    ("Sec-Fetch-Site: cross-site", f"Origin: {SPA}"),
    ("Sec-Fetch-Site: same-site", f"Origin: {SPA}"),
    (f"Origin: {OWN}",),
    (f"Origin: {SPA}",),
    ("X-CSRF: 1",),
]
REFUSED: list[tuple[str, ...]] = [
    (),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Sec-Fetch-Site: none",),
    ("Sec-Fetch-Site: cross-site", f"Origin: {OWN}"),
    ("Sec-Fetch-Site: cross-site", "X-CSRF: 1"),
    ("Sec-Fetch-Site: cross-site", "Origin: https://evil.example", "X-CSRF: 1"),
    ("Sec-Fetch-Site: SAME-ORIGIN",),
    ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    ("Sec-Fetch-Site: ",),
    ("Origin: null",),
    ("Origin: null", "X-CSRF: 1"),
    ("Origin: https://evil.example",),
    ("Origin: https://evil.example", "X-CSRF: 1"),
    (f"Origin: {OWN}.evil.example",),
    (f"Origin: {OWN}", "Origin: https://evil.example"),
    (f"Origin: {SPA}/",),
    ("X-CSRF: 0",),
    ("X-CSRF: ",),
    ("X-CSRF: 1", "X-CSRF: 1"),
    (f"Referer: {OWN}/",),
]


def fields(site: Site, cookie: str | None, given: tuple[str, ...]) -> list[str]:
    """Return the header fields of a request, with the service's origin put in."""
    own = [field.replace(OWN, site.base_url) for field in given]
    return own + ([f"Cookie: bff={cookie}"] if cookie else []) + ["Content-Length: 0"]


@pytest.mark.parametrize("given", REFUSED, ids=str)
async def test_requests_from_elsewhere_are_refused(site: Site, given: tuple[str, ...]) -> None:
    """403 `csrf`, with our cookie and without it; the session goes on, and no cookie is cleared."""
    async with site.browser() as browser:
        await sign_in(browser)
        for path in ("/bff/logout", "/bff/refresh"):
            for cookie in (browser.cookies.get("bff"), None):
                sent = request(path, *fields(site, cookie, given), method="POST")
                answer = await exchange(site.base_url, sent)
                assert (answer.status, json.loads(answer.body)["code"]) == (403, "csrf"), path
                assert "set-cookie" not in answer.headers
        assert await signed_in(browser)


@pytest.mark.parametrize("given", ALLOWED, ids=str)
async def test_requests_from_our_own_page_are_served(site: Site, given: tuple[str, ...]) -> None:
    """Refresh is 200 with a session and 401 without; logout is 200 both times."""
    async with site.browser() as browser:
        await sign_in(browser)
        cookie = browser.cookies.get("bff")
        for path, signed_out, status in (
            ("/bff/refresh", False, 200), ("/bff/refresh", True, 401),
            ("/bff/logout", True, 200), ("/bff/logout", False, 200),
        ):  # fmt: skip
            sent = fields(site, None if signed_out else cookie, given)
            answer = await exchange(site.base_url, request(path, *sent, method="POST"))
            assert answer.status == status, answer.body
            if status == 401:
                assert json.loads(answer.body)["login_url"] == "/bff/login"
        assert not await signed_in(browser)


async def test_the_sign_out_page_works_without_script(site: Site) -> None:
    """`GET /bff/logout` changes nothing; its button signs out, clears the cookie and leads home."""
    async with site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate("/bff/logout")
        assert await signed_in(browser)
        assert page.forms[0].method == "POST"
        page = await browser.submit()
        assert page.path == "/"
        assert browser.cookies.get("bff") is None
        assert not await signed_in(browser)


async def test_nobody_else_can_sign_a_browser_out_by_a_form(site: Site) -> None:
    """A cross-site form comes without the Strict cookie, and must not clear it."""
    async with site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate(
            "/bff/logout", method="POST", data={}, initiator="https://evil.example/", follow=False
        )
        assert page.status == 403
        assert "text/html" in page.headers["content-type"]
        assert await signed_in(browser)
