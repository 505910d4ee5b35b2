"""The whole story against node `oidc-provider`: sign in, call, refresh, sign out, be signed out.

The provider, its pages, tokens and logout calls are not written here; the service is started as
`bff serve`, and the browser is `UserAgent`. The API believes only the provider's own keys.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.node_provider import SCOPES, NodeProvider
from tests.support.orders_api import OrdersApi, orders_api
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import RunService
    from tests.interop.conftest import StartProvider
    from tests.support.history import Page

ALICE = {"name": "Alice Liddell", "roles": ["admin"]}


@dataclass(slots=True)
class Stage:
    """Everyone who takes part. `localhost` and the provider's `127.0.0.1` are two sites."""

    base_url: str
    provider: NodeProvider
    api: OrdersApi
    browser: UserAgent

    async def sign_in(self, browser: UserAgent, login: str = "alice") -> Page:
        """Walk through the provider's login and consent pages, as a person would."""
        page = await browser.navigate("/bff/login?return_to=/?from=login")
        assert origin_of(page) == self.provider.issuer
        assert page.forms[0].fields[0] == ("prompt", "login")
        page = await browser.submit(fields={"login": login, "password": "any"})
        assert page.forms[0].fields == [("prompt", "consent")]
        return await browser.submit(button="Continue")


async def test_a_visitor_signs_in_calls_refreshes_and_signs_out(stage: Stage) -> None:
    """Login with consent, API calls, a forced refresh, and RP-initiated logout, in one browser."""
    browser, provider, api = stage.browser, stage.provider, stage.api

    page = await stage.sign_in(browser)
    assert (page.status, page.url) == (200, f"{stage.base_url}/?from=login")
    assert provider.named("grant.success")[-1]["grant_type"] == "authorization_code"
    session = await session_of(browser)
    assert session["authenticated"] is True
    assert session["user"]["sub"] == "alice"
    assert session["user"]["name"] == ALICE["name"]

    answer = await browser.fetch("/api/orders")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"path": "/api/orders", "sub": "alice", "roles": ["admin"]}

    answer = await browser.fetch("/bff/refresh", method="POST")
    assert answer.status_code == 200, answer.text
    assert answer.json()["session"]["id"] == session["session"]["id"]
    assert provider.named("grant.success")[-1]["grant_type"] == "refresh_token"
    assert (await browser.fetch("/api/orders")).status_code == 200
    assert len(set(api.tokens)) == 2, "the refreshed token is another one"
    assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
    assert provider.named("grant.error") == [], "the rotated refresh token was used"

    stolen = {"Cookie": browser.cookies.header(browser.base_url)}
    answer = await browser.fetch("/bff/logout", method="POST")
    assert answer.status_code == 200, answer.text
    replayed = await browser.fetch("/bff/session", headers=stolen)
    assert replayed.json()["authenticated"] is False, "ended here before the provider has a say"
    page = await browser.navigate(answer.json()["logout_url"], initiator=browser.base_url)
    assert origin_of(page) == provider.issuer
    page = await browser.submit(button="Yes")
    passed = [urlsplit(visit.url).path for visit in browser.visits[-3:]]
    assert passed == ["/session/end/confirm", "/bff/logged-out", "/"]
    assert (page.status, page.url) == (200, f"{stage.base_url}/")
    assert (await session_of(browser)) == {"authenticated": False, "login_url": "/bff/login"}
    assert (await browser.fetch("/api/orders")).status_code == 401
    await provider.wait_for("grant.revoked")
    assert await provider.wait_for("backchannel.success")
    assert provider.named("backchannel.error") == []
    assert api.cookies == []
    assert_no_token_reached(browser, api)


async def test_a_form_signs_out_through_the_providers_page(stage: Stage) -> None:
    """The page at `GET /bff/logout` works without scripts, all the way back to `/`."""
    browser = stage.browser
    await stage.sign_in(browser)
    await browser.navigate("/bff/logout")
    page = await browser.submit()
    assert origin_of(page) == stage.provider.issuer
    assert "id_token_hint" in parse_qs(urlsplit(page.url).query)
    page = await browser.submit(button="Yes")
    assert (page.status, page.url) == (200, f"{stage.base_url}/")
    assert (await session_of(browser))["authenticated"] is False


async def test_staying_signed_in_at_the_provider_still_signs_out_here(stage: Stage) -> None:
    """`No, stay signed in` on the provider's page ends the session here and leaves its own."""
    browser = stage.browser
    await stage.sign_in(browser)
    await browser.navigate("/bff/logout")
    await browser.submit()
    page = await browser.submit(button="No")
    assert page.url == f"{stage.base_url}/"
    assert (await session_of(browser))["authenticated"] is False


async def test_the_provider_signs_the_visitor_out(stage: Stage) -> None:
    """A session ended at the provider, in another tab, is ended here by its back-channel call."""
    browser, provider = stage.browser, stage.provider
    await stage.sign_in(browser)
    assert (await browser.fetch("/api/orders")).status_code == 200

    async with browser.another_tab() as tab:
        await tab.navigate(f"{provider.issuer}/session/end")
        page = await tab.submit(button="Yes")
        assert origin_of(page) == provider.issuer
    told = await provider.wait_for("backchannel.success")
    assert told["sub"] == "alice"
    assert provider.named("backchannel.error") == []

    assert (await session_of(browser))["authenticated"] is False
    assert (await browser.fetch("/api/orders")).status_code == 401


async def test_only_the_session_that_ended_is_ended(stage: Stage) -> None:
    """The `sid` of a logout token ends the session in one browser and not the one in another."""
    async with UserAgent(stage.base_url) as other:
        await stage.sign_in(stage.browser)
        await stage.sign_in(other)
        await other.navigate(f"{stage.provider.issuer}/session/end")
        await other.submit(button="Yes")
        await stage.provider.wait_for("backchannel.success")
        assert (await session_of(other))["authenticated"] is False
        assert (await session_of(stage.browser))["authenticated"] is True
        assert (await stage.browser.fetch("/api/orders")).status_code == 200


@pytest.mark.parametrize("lifetime", [3])
async def test_an_access_token_is_renewed_before_it_ends(stage: Stage) -> None:
    """A call after the token's lifetime goes through with a new one, unseen by the page."""
    browser, api = stage.browser, stage.api
    await stage.sign_in(browser)
    assert (await browser.fetch("/api/orders")).status_code == 200
    await asyncio.sleep(3)
    assert (await browser.fetch("/api/orders")).status_code == 200
    assert len(set(api.tokens)) == 2
    assert [event["grant_type"] for event in stage.provider.named("grant.success")] == [
        "authorization_code",
        "refresh_token",
    ]


async def test_a_user_who_refuses_consent_is_not_signed_in(stage: Stage) -> None:
    """`access_denied` from the provider is an error page, and no session is made."""
    browser = stage.browser
    await browser.navigate("/bff/login")
    await browser.submit(fields={"login": "alice", "password": "any"})
    page = await browser.click("Cancel")
    assert page.path == "/bff/callback"
    assert 400 <= page.status < 500
    assert page.content.title
    assert (await session_of(browser))["authenticated"] is False


async def test_claims_come_from_userinfo(
    run_service: RunService, service_port: int, oidc_provider: StartProvider
) -> None:
    """Without an API the ID token is bare; name and roles are fetched from userinfo."""
    base_url = f"http://localhost:{service_port}"
    provider = oidc_provider(base_url, accounts={"alice": ALICE})
    run_service(environment(base_url, provider))
    async with UserAgent(base_url) as browser, orders_api() as api:
        await Stage(base_url, provider, api, browser).sign_in(browser)
        user = (await session_of(browser))["user"]
        assert (user["name"], user["roles"]) == (ALICE["name"], ALICE["roles"])
        assert user["email"] == "alice@example.test"


@pytest.fixture
def lifetime() -> int:
    """Seconds that an access token lives; a test may say otherwise."""
    return 300


@pytest.fixture
async def stage(
    run_service: RunService, service_port: int, oidc_provider: StartProvider, lifetime: int
) -> AsyncIterator[Stage]:
    """Service, provider and API wired together, and a browser nobody has used."""
    base_url = f"http://localhost:{service_port}"
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(orders_api())
        provider = oidc_provider(
            base_url, api=api.url, accounts={"alice": ALICE}, access_token_seconds=lifetime
        )
        api.issuer = provider.issuer
        routes = f'{{"/api": {{"upstream": "{api.url}", "scopes": ["orders:read"]}}}}'
        # The access token is for the API, so userinfo refuses it; the ID token has the claims.
        run_service(
            {
                **environment(base_url, provider),
                "BFF_ROUTES": routes,
                "BFF_FETCH_USERINFO": "false",
            }
        )
        browser = await stack.enter_async_context(UserAgent(base_url))
        yield Stage(base_url, provider, api, browser)


def environment(base_url: str, provider: NodeProvider) -> dict[str, str]:
    """The configuration; `prompt=consent` is what this provider wants for `offline_access`."""
    return {
        "BFF_BASE_URL": base_url,
        "BFF_ISSUER": provider.issuer,
        "BFF_CLIENT_ID": provider.client_id,
        "BFF_CLIENT_SECRET": provider.client_secret,
        "BFF_SCOPES": SCOPES,
        "BFF_AUTHORIZE_PARAMS": '{"prompt": "consent"}',
    }


async def session_of(browser: UserAgent) -> dict[str, Any]:
    """What `/bff/session` tells the browser's page."""
    answer = await browser.fetch("/bff/session")
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def origin_of(page: Page) -> str:
    """Where the page comes from."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(page.url))


def assert_no_token_reached(browser: UserAgent, api: OrdersApi) -> None:
    """No access token is in a URL, header or cookie that the browser saw."""
    seen = repr([(visit.url, list(visit.headers.items())) for visit in browser.visits])
    assert not [token for token in api.tokens if token in seen]
    assert browser.cookies.readable(browser.base_url) == {}
