"""What a page may ask of a login: where it leads, and how the user is to be signed in."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tests.support.site import Site, sign_in, signed_in

ELSEWHERE = [
    "//evil.example", "///evil.example", "////evil.example/%2f..", "/\\evil.example",
    "\\/evil.example", "\\\\evil.example", "/\t/evil.example", "/%09/evil.example",
    "/%5cevil.example", "/%2f%2fevil.example", "/%2fevil.example", "https:evil.example",
    "https:/evil.example", "https://evil.example", "http:evil.example", "HtTpS://evil.example",
    "javascript:alert(1)", "data:text/html,x", " //evil.example", "\x00//evil.example",
    "/\r\nLocation: //evil.example", "/\n/evil.example", "/%0a/evil.example", "/%0d%0aX-Evil:1",
    "/%00/evil", "/./\\evil.example", "/.//evil.example", "/../evil.example",
    "/..//evil.example", "/a/..//evil.example", "/%2e%2e//evil.example", "/%2e/evil",
    "/;@evil.example/..", "@evil.example", "evil.example", "?x", "#x", "", ".", "..",
    "/\N{FULLWIDTH SOLIDUS}evil.example/..", "/\x85/evil.example",
    "/\N{LINE SEPARATOR}//evil.example", "http://127.0.0.1.evil.example/",
    "http://127.0.0.1@evil.example/", "/bff/logout", "/bff/login", "/%62ff/callback", "/bff",
    "/" + "a" * 3000, "/%", "/%zz", "/a//b", "/\\", "/a\\b",
]  # fmt: skip
HERE = {
    "/": "/",
    "/a": "/a",
    "/a/b/": "/a/b/",
    "/a?x=//evil.example": "/a?x=//evil.example",
    "/a?next=https://evil.example": "/a?next=https://evil.example",
    "/a#/route?x=1": "/a#/route?x=1",
    "/bffs": "/bffs",
    "/caf\N{LATIN SMALL LETTER E WITH ACUTE}": "/caf%C3%A9",
    "/a%20b?c=%0A": "/a%20b?c=%0A",
    "/'\"<script>": "/'%22%3Cscript%3E",
}


async def arrival(site: Site, query: str) -> str:
    """Sign in and return where the browser arrives; it must never have left the two hosts."""
    async with site.browser() as browser:
        page = await sign_in(browser, query=query)
        origins = {f"{urlsplit(v.url).scheme}://{urlsplit(v.url).netloc}" for v in browser.visits}
        assert origins == {site.base_url, site.provider.issuer}
        assert await signed_in(browser)
        return page.url.removeprefix(site.base_url)


@pytest.mark.parametrize("target", ELSEWHERE, ids=lambda target: ascii(target)[:40])
async def test_no_login_leads_elsewhere(site: Site, target: str) -> None:
    """Whatever is no plain path of this origin is ignored for `/`, and the login still works."""
    assert await arrival(site, "?return_to=" + quote(target, safe="")) == "/"


@pytest.mark.parametrize(("target", "place"), HERE.items())
async def test_a_path_of_this_origin_is_where_it_leads(site: Site, target: str, place: str) -> None:
    """Path, query and fragment come back, written so that every parser reads the same."""
    assert await arrival(site, "?return_to=" + quote(target, safe="")) == place


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "login"},
        {"prompt": "select_account consent"},
        {"login_hint": "alice@example.com +/&="},
        {"acr_values": "urn:example:strong urn:example:basic"},
        {"max_age": "0"},
        {"max_age": "3600"},
        {"ui_locales": "de-CH fr en"},
        {"prompt": "create"},
        {"claims": '{"id_token":{"acr":{"essential":true,"values":["gold"]}}}'},
    ],
    ids=str,
)
async def test_options_reach_the_provider(site: Site, options: dict[str, str]) -> None:
    """They stand in the authorization request as they were given, and only they."""
    async with site.browser() as browser:
        page = await browser.navigate(f"/bff/login?{urlencode(options)}", follow=False)
        sent = parse_qs(urlsplit(page.headers["location"]).query)
        for name in ("prompt", "login_hint", "acr_values", "max_age", "ui_locales", "claims"):
            assert sent.get(name) == ([options[name]] if name in options else None)


@pytest.mark.parametrize(
    "query",
    [
        "prompt=never", "prompt=none+login", "prompt=login+none", "prompt=LOGIN",
        "prompt=login%20%20consent", "max_age=-1", "max_age=1.5", "max_age=x", "max_age=1e3",
        "max_age=%D9%A1", "max_age=99999999999", "prompt=none&max_age=0", "login_hint=%00",
        "login_hint=a%0D%0Ab", "acr_values=%1B", "ui_locales=%7F", "login_hint=" + "a" * 600,
        "claims=x", "claims=[]", "claims={}", "claims={%22id_token%22:{%22acr%22:1}}", "silent=1",
        "acr_values=a&claims={%22id_token%22:{%22acr%22:{%22essential%22:true,%22value%22:%22b%22}}}",
        "prompt=login&prompt=login", "return_to=/a&return_to=/b", "max_age=1&max_age=2",
    ],
)  # fmt: skip
async def test_an_option_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    """400 `bad_request`, and nobody is sent to the provider."""
    async with site.browser() as browser:
        answer = await browser.fetch(f"/bff/login?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers


async def test_unknown_parameters_are_not_passed_on(site: Site) -> None:
    """Nobody can slip a parameter of the protocol in through our address."""
    evil = (
        "redirect_uri=https://evil.example&client_id=x&scope=admin&state=x&response_mode=fragment"
    )
    async with site.browser() as browser:
        page = await browser.navigate(
            f"/bff/login?{evil}&request_uri=x&id_token_hint=x", follow=False
        )
        sent = parse_qs(urlsplit(page.headers["location"]).query)
        assert sent["redirect_uri"] == [f"{site.base_url}/bff/callback"]
        assert sent["client_id"] == [site.provider.client_id]
        assert len(sent["state"][0]) == 43
        assert not {"request_uri", "id_token_hint", "response_mode"} & sent.keys()


async def test_prompt_none_without_a_user_at_the_provider(site: Site) -> None:
    """The provider says `login_required`; the page says that it did not work, and no more."""
    async with site.browser() as browser:
        page = await browser.navigate("/bff/login?prompt=none")
        assert (page.status, page.path) == (400, "/bff/callback")
        logged = site.logged(page.headers["x-request-id"])
        assert {line["reason"] for line in logged} == {"provider_error_login_required"}


async def test_prompt_none_with_a_user_at_the_provider(site: Site) -> None:
    """A second service of the same user signs in without a page of the provider's."""
    async with site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate("/bff/login?prompt=none&return_to=/quiet")
        assert page.path == "/quiet"
        assert await signed_in(browser)


async def test_max_age_zero_asks_the_user_again(site: Site) -> None:
    """Zero is an age like any other: the provider shows its page although the user is there."""
    async with site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate("/bff/login?max_age=0")
        assert page.forms
        page = await browser.submit(button="alice")
        assert (page.path, await signed_in(browser)) == ("/", True)


async def test_a_stronger_sign_in_is_asked_for_and_seen(site: Site) -> None:
    """`acr_values` goes out, and the session tells what came back."""
    strong = "urn:demo:acr:strong"
    async with site.browser() as browser:
        await browser.navigate(f"/bff/login?acr_values={strong}")
        await browser.submit(button="alice")
        assert (await browser.fetch("/bff/session")).json()["user"]["acr"] == strong
