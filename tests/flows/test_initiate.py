"""Logins that the provider starts (OIDC Core 4), and what others make of that address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from bff.web.initiate import router
from bff.web.service import Service
from tests.support.raw_http import RawAnswer, exchange, request
from tests.support.site import Site, open_site, sign_in, signed_in

from .test_login_options import ELSEWHERE

FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service at which the provider may start logins."""
    with open_site(tmp_path_factory.mktemp("site"), {"BFF_INITIATE_LOGIN": "true"}) as site:
        yield site


async def ask(site: Site, parameters: str, *fields: str, method: str = "GET") -> RawAnswer:
    """Ask for a login, by a query or by a form."""
    if method == "GET":
        return await exchange(site.base_url, request(f"/bff/initiate-login?{parameters}", *fields))
    body = parameters.encode()
    length = f"Content-Length: {len(body)}"
    sent = request("/bff/initiate-login", FORM, length, *fields, method="POST", body=body)
    return await exchange(site.base_url, sent)


def parameters_of(site: Site, **more: str) -> str:
    """Return what our provider sends."""
    return urlencode({"iss": site.provider.issuer, **more})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_provider_starts_a_login(site: Site, method: str) -> None:
    """The browser goes to the provider with the hint, signs in, and arrives at the target."""
    target = f"{site.base_url}/orders?a=1#b"
    async with site.browser() as browser:
        form = {
            "iss": site.provider.issuer,
            "login_hint": "bob",
            "target_link_uri": target,
            "x": "y",
        }
        page = await browser.navigate(
            "/bff/initiate-login" + (f"?{urlencode(form)}" if method == "GET" else ""),
            method=method, data=form if method == "POST" else None,
            initiator=site.provider.issuer + "/apps",
        )  # fmt: skip
        sent = next(visit.url for visit in browser.visits if "/authorize" in visit.url)
        assert parse_qs(urlsplit(sent).query)["login_hint"] == ["bob"]
        page = await browser.submit(button="bob") if page.forms else page
        assert page.url == target
        assert await signed_in(browser)


async def test_no_target_leads_elsewhere(site: Site) -> None:
    """What is not a plain path of ours is ignored for `/`: alone, and behind our origin."""
    async with site.browser() as browser:
        await sign_in(browser)
        for target in ELSEWHERE:
            for written in (site.base_url + target, target)[: 2 if len(target) < 4 else 1]:
                query = parameters_of(site, target_link_uri=written)
                page = await browser.navigate(f"/bff/initiate-login?{query}")
                assert page.url == f"{site.base_url}/", ascii(written)[:80]


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "{base}.evil.example/", "{base}@evil.example/", "{base}", ""],
)
async def test_a_foreign_target_is_home(site: Site, target: str) -> None:
    """The login goes on, and ends at `/`."""
    query = parameters_of(site, target_link_uri=target.format(base=site.base_url))
    async with site.browser() as browser:
        await browser.navigate(f"/bff/initiate-login?{query}")
        page = await browser.submit(button="alice")
        assert page.url == f"{site.base_url}/"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("", "bad_request"),
        ("iss=", "bad_request"),
        ("iss=https://evil.example", "bad_request"),
        ("iss={issuer}/", "bad_request"),
        ("iss={issuer}%00", "bad_request"),
        ("iss={issuer}&iss={issuer}", "bad_request"),
        ("iss={issuer}&iss=https://evil.example", "bad_request"),
        ("iss={issuer}&login_hint=a&login_hint=b", "bad_request"),
        ("iss={issuer}&target_link_uri=/a&target_link_uri=/b", "bad_request"),
        ("iss={issuer}&login_hint=" + "a" * 5000, "bad_request"),
        ("iss={issuer}&login_hint=%0d%0aX-Evil:%201", "bad_request"),
        ("iss={issuer}&login_hint=%ff", "bad_request"),
        ("&".join(["a=1"] * 80) + "&iss={issuer}", "bad_request"),
    ],
)
async def test_nobody_else_starts_one(site: Site, parameters: str, code: str) -> None:
    """400, no login begun and no cookie set: by query and by form."""
    for method in ("GET", "POST"):
        given = parameters.format(issuer=site.provider.issuer)
        answer = await ask(site, given, method=method)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, code)
        assert not {"set-cookie", "location"} & answer.headers.keys()


async def test_a_form_of_another_kind_is_refused(site: Site) -> None:
    """Only what a browser's form sends is read."""
    body = json.dumps({"iss": site.provider.issuer}).encode()
    for kind in ("application/json", "text/plain", ""):
        fields = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        sent = request("/bff/initiate-login", *fields, method="POST", body=body)
        assert (await exchange(site.base_url, sent)).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        ("Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
        ("Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
        ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
        ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object"),
        ("Sec-Fetch-Mode: websocket",),
    ],
)
async def test_a_login_that_the_user_cannot_see_is_not_begun(
    site: Site, fields: tuple[str, ...]
) -> None:
    """No image, no script and no frame of another site signs anybody in: 403."""
    for method in ("GET", "POST"):
        answer = await ask(site, parameters_of(site), *fields, method=method)
        assert answer.status == 403
        assert not {"set-cookie", "location"} & answer.headers.keys()


def test_where_it_is_switched_off_there_is_no_such_page() -> None:
    """No route is added, so that the door answers 404."""
    settings = SimpleNamespace(initiate_login=False)
    assert router(cast("Service", SimpleNamespace(settings=settings))).routes == []
