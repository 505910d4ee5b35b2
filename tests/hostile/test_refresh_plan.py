"""The refresh plan: new tokens that are used, and new tokens that must not be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.hostile.rig import Begun, Wide
from tests.support.scripted_provider import Answer
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

ODD = "refresh %+&=:/?#[]@!$'()*,;~`^{}|\\\"<> token"


async def sign_in(wide: Wide, browser: UserAgent, refresh_token: str) -> Begun:
    """Sign in; the session gets this refresh token."""
    begun = await wide.rig.begin(browser)
    wide.rig.grants(begun, refresh_token=refresh_token)
    outcome = await wide.rig.finish(browser, begun)
    assert outcome.signed_in, outcome.reasons
    return begun


def renews(wide: Wide, refresh_token: str, begun: Begun, **changes: Any) -> None:
    """Have the provider answer this refresh token; changed claims of the ID token are `changes`."""
    claims = {**begun.claims, "iat": int(time.time()), **changes}
    body = {
        "access_token": "renewed-access", "token_type": "bearer", "expires_in": 300,
        "refresh_token": f"{refresh_token}-next", "id_token": wide.rig.sign(claims),
    }  # fmt: skip
    wide.rig.plans[refresh_token] = Answer(body=body)


async def token_at_api(wide: Wide, browser: UserAgent) -> str | None:
    """Call the API; return the token that reached it, None where the call was refused."""
    before = len(wide.api.asked)
    await browser.fetch("/api/orders")
    came = wide.api.asked[before:]
    return came[0].headers["authorization"].removeprefix("Bearer ") if came else None


def last_failure(wide: Wide) -> str:
    """Return the reason of the latest failed refresh in the log."""
    return [str(line["reason"]) for line in wide.rig.service.log if line.get("reason")][-1]


async def test_oidcc_client_test_refresh_token(wide: Wide) -> None:
    """Any character of a refresh token arrives as it is; the new access token is then used."""
    async with UserAgent(wide.rig.service.base_url) as browser:
        begun = await sign_in(wide, browser, ODD)
        renews(wide, ODD, begun)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        form = wide.rig.provider.last("/token").form
        assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", ODD)
        assert "scope" not in form, "never more than was granted"
        assert await token_at_api(wide, browser) == "renewed-access"
        renews(wide, f"{ODD}-next", begun)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert wide.rig.provider.last("/token").form["refresh_token"] == f"{ODD}-next"


POISONS: dict[str, tuple[dict[str, Any], str]] = {
    "oidcc-client-test-refresh-token-invalid-issuer": ({"iss": "https://evil.example/"}, "iss"),
    "another audience": ({"aud": "other"}, "aud"),
    "a second audience": ({"aud": ["other", "another"]}, "aud"),
    "another nonce": ({"nonce": "x" * 43}, "nonce_changed"),
    "expired": ({"exp": 1}, "exp"),
}


@pytest.mark.parametrize(("changes", "reason"), POISONS.values(), ids=POISONS.keys())
async def test_a_poisoned_refresh_changes_nothing(
    wide: Wide, changes: dict[str, Any], reason: str
) -> None:
    """None of the new tokens is used, the old one still is, and the reason is in the log."""
    async with UserAgent(wide.rig.service.base_url) as browser:
        name = f"refresh-{reason}-{len(changes)}-{changes}"
        begun = await sign_in(wide, browser, name)
        renews(wide, name, begun, **changes)
        before = len(wide.rig.provider.asked)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 503
        assert [one.target for one in wide.rig.provider.asked[before:]] == ["/token"]
        assert last_failure(wide) == f"id_token_{reason}"
        assert await token_at_api(wide, browser) == f"access-{begun.code}"


async def test_oidcc_client_test_refresh_token_invalid_sub(wide: Wide) -> None:
    """A refresh that answers with another user's tokens ends the session; they reach nothing."""
    async with UserAgent(wide.rig.service.base_url) as browser:
        begun = await sign_in(wide, browser, "refresh-sub")
        renews(wide, "refresh-sub", begun, sub="mallory")
        before = len(wide.rig.provider.asked)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 401
        assert await token_at_api(wide, browser) is None
        assert not (await browser.fetch("/bff/session")).json()["authenticated"]
        asked = [one.target for one in wide.rig.provider.asked[before:]]
        assert asked == ["/token"]
        assert wide.rig.service.events("session.ended")[-1]["reason"] == "wrong_user"
