"""The plans of RP-initiated and front-channel logout, session management, and third-party login."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx2
import pytest
import pytest_asyncio

from tests.hostile.rig import CLIENT_ID, Rig, Wide, post_logout_token, times
from tests.support import jose
from tests.support.history import Page
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def browser(wide: Wide) -> AsyncIterator[UserAgent]:
    """A browser that nobody has signed in with yet."""
    async with UserAgent(wide.rig.service.base_url) as browser:
        yield browser


async def sign_in(rig: Rig, browser: UserAgent, sid: str, sub: str = "alice") -> str:
    """Sign in with a session of the provider's; return the ID token."""
    begun = await rig.begin(browser, sub=sub)
    id_token = rig.sign({**begun.claims, "sid": sid})
    rig.grants(begun, id_token, refresh_token=f"refresh-{sid}")
    outcome = await rig.finish(browser, begun, {"session_state": "state.salt"})
    assert outcome.signed_in, outcome.reasons
    return id_token


async def signed_in(browser: UserAgent) -> bool:
    """Whether the service says that this browser is signed in."""
    return bool((await browser.fetch("/bff/session")).json()["authenticated"])


async def sign_out(rig: Rig, browser: UserAgent) -> dict[str, list[str]]:
    """Sign out as the page does; return what the provider is asked at its end_session_endpoint."""
    answer = await browser.fetch("/bff/logout", method="POST")
    page = await browser.navigate(answer.json()["logout_url"], follow=False)
    location = page.headers["location"]
    assert location.startswith(rig.provider.url("/logout?"))
    return parse_qs(urlsplit(location).query)


async def come_back(rig: Rig, browser: UserAgent, state: str | None) -> tuple[Page, list[str]]:
    """Come back from the provider; return the answer, and what the log says of `state`."""
    query = "" if state is None else f"?state={quote(state, safe='')}"
    target = f"/bff/logged-out{query}"
    page = await browser.navigate(target, initiator=rig.provider.issuer, follow=False)
    request_id = page.headers["x-request-id"]
    lines = [line for line in rig.service.log if line.get("request_id") == request_id]
    return page, [one["reason"] for one in lines if one["event"] == "logout.state_refused"]


async def test_oidcc_client_test_rp_init_logout(wide: Wide, browser: UserAgent) -> None:
    """The hint is the ID token to the byte, with a registered address and a fresh state (T14, T18).

    The provider's own logout token, sent meanwhile, finds the session gone: 200.
    """
    rig = wide.rig
    id_token = await sign_in(rig, browser, "rp-init")
    query = await sign_out(rig, browser)
    assert not await signed_in(browser)
    assert query["id_token_hint"] == [id_token]
    assert query["client_id"] == [CLIENT_ID]
    assert query["post_logout_redirect_uri"] == [f"{rig.service.base_url}/bff/logged-out"]
    assert len(query["state"][0]) == 43
    claims = {**times(120), "iss": rig.provider.issuer, "aud": CLIENT_ID, "sid": "rp-init"}
    token = jose.sign(jose.logout_claims(**claims, jti="rp-init"), kid="one")
    assert (await post_logout_token(rig, token)).status_code == 200
    page, refused = await come_back(rig, browser, query["state"][0])
    assert (page.status, page.headers["location"], refused) == (303, "/", [])
    _, refused = await come_back(rig, browser, query["state"][0])
    assert refused == ["unknown"], "a state comes back once"


@pytest.mark.parametrize(
    ("change", "reason"),
    [("_INVALID", "unknown"), (None, "missing")],
    ids=[
        "oidcc-client-test-rp-init-logout-other-state",
        "oidcc-client-test-rp-init-logout-no-state",
    ],
)
async def test_a_sign_out_with_a_wrong_state(
    wide: Wide, browser: UserAgent, change: str | None, reason: str
) -> None:
    """It changes nothing and leads home; the session has ended long before; the log tells."""
    rig = wide.rig
    await sign_in(rig, browser, f"rp-init-{reason}")
    state = (await sign_out(rig, browser))["state"][0]
    before = len(rig.provider.asked)
    page, refused = await come_back(rig, browser, None if change is None else state + change)
    assert (page.status, page.headers["location"], refused) == (303, "/", [reason])
    assert not await signed_in(browser)
    assert len(rig.provider.asked) == before
    assert "set-cookie" not in page.headers


async def front_channel(rig: Rig, **query: str) -> httpx2.Response:
    """Load our page as a frame of the provider's does: another site's, so without our cookies."""
    headers = {
        "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe",
        "Accept": "text/html",
    }  # fmt: skip
    async with httpx2.AsyncClient(trust_env=False) as client:
        url = f"{rig.service.base_url}/bff/frontchannel-logout?{urlencode(query)}"
        return await client.get(url, headers=headers)


async def test_oidcc_client_test_rp_frontchannel_rpinitlogout(
    wide: Wide, browser: UserAgent
) -> None:
    """`iss` and `sid` end the session, in a frame of the provider's and of nobody else's (T12)."""
    rig = wide.rig
    await sign_in(rig, browser, "front")
    answer = await front_channel(rig, iss=rig.provider.issuer, sid="front")
    assert answer.status_code == 200
    assert not await signed_in(browser)
    policy = answer.headers["content-security-policy"]
    assert policy.endswith(f"frame-ancestors {rig.provider.issuer.rstrip('/')}")
    assert "x-frame-options" not in answer.headers
    assert "no-store" in answer.headers["cache-control"]
    again = await front_channel(rig, iss=rig.provider.issuer, sid="front")
    assert again.status_code == 200, "signed out already is signed out"


async def test_oidcc_client_test_rp_frontchannel_opinitlogout(
    wide: Wide, browser: UserAgent
) -> None:
    """The provider begins it: what names no session of ours ends none, and is no error (T13)."""
    rig = wide.rig
    issuer = rig.provider.issuer
    await sign_in(rig, browser, "kept in front")
    for query in (
        {}, {"iss": issuer}, {"sid": "kept in front"}, {"iss": issuer, "sid": ""},
        {"iss": issuer.rstrip("/"), "sid": "kept in front"},
        {"iss": "https://evil.example/", "sid": "kept in front"},
        {"iss": issuer, "sid": "abcdefghijklmnopqrst0123456789 %&#`"},
        {"iss": issuer, "sid": "\x00\r\n"}, {"iss": issuer, "sid": "a" * 5000},
    ):  # fmt: skip
        answer = await front_channel(rig, **query)
        assert answer.status_code == 200, query
        assert await signed_in(browser)
    await front_channel(rig, iss=issuer, sid="kept in front")
    assert not await signed_in(browser)


async def test_session_state_is_there_before_and_after_a_silent_answer(
    wide: Wide, browser: UserAgent
) -> None:
    """The page can watch the provider's frame, and a later sign-in brings the new state."""
    rig = wide.rig
    await sign_in(rig, browser, "watched")
    told = (await browser.fetch("/bff/session")).json()["session_management"]
    assert told["check_session_iframe"] == f"{rig.provider.issuer}frame"
    assert (told["client_id"], told["session_state"]) == (CLIENT_ID, "state.salt")
    begun = await rig.begin(browser)
    rig.grants(begun)
    await rig.finish(browser, begun, {"session_state": "other.salt"})
    told = (await browser.fetch("/bff/session")).json()["session_management"]
    assert told["session_state"] == "other.salt"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_oidcc_client_test_3rd_party_init_login(
    wide: Wide, browser: UserAgent, method: str
) -> None:
    """The provider starts a login with `iss`, a hint, a target and what else it likes (T19)."""
    rig = wide.rig
    given = {
        "iss": rig.provider.issuer, "login_hint": "alice", "ignored_parameter": "x",
        "target_link_uri": f"{rig.service.base_url}/orders",
    }  # fmt: skip
    posted = method == "POST"
    page = await browser.navigate(
        "/bff/initiate-login" + ("" if posted else f"?{urlencode(given)}"),
        method=method, data=given if posted else None, initiator=rig.provider.issuer, follow=False,
    )  # fmt: skip
    assert page.status == 303
    sent = parse_qs(urlsplit(page.headers["location"]).query)
    query = {name: values[0] for name, values in sent.items()}
    assert page.headers["location"].startswith(rig.provider.url("/authorize?"))
    assert (query["login_hint"], "ignored_parameter" in query) == ("alice", False)
    begun = await rig.begin(browser)
    begun = type(begun)(begun.code, query, {**begun.claims, "nonce": query["nonce"]})
    rig.grants(begun)
    outcome = await rig.finish(browser, begun)
    assert outcome.signed_in
    assert "/orders" in outcome.page.text


async def test_a_login_that_a_stranger_starts_is_not_begun(wide: Wide) -> None:
    """Another issuer, none, or ours without its slash: 400, and nobody is sent away (T9, T19)."""
    rig = wide.rig
    before = len(rig.provider.asked)
    async with UserAgent(rig.service.base_url) as browser:
        for iss in ("https://evil.example/", rig.provider.issuer.rstrip("/"), ""):
            page = await browser.navigate(
                f"/bff/initiate-login?{urlencode({'iss': iss})}",
                initiator="https://evil.example/",
                follow=False,
            )
            assert (page.status, "location" in page.headers) == (400, False)
            assert "set-cookie" not in page.headers
    assert len(rig.provider.asked) == before
