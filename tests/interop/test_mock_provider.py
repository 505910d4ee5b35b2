"""A second provider that is not written here: `oidc-provider-mock`, made with Flask and Authlib.

It takes any client, and its discovery document is short: no `iss` in answers, no way to
authenticate named (so `client_secret_basic`), no revocation, no sign-out that it would tell of.
Oddities: servers made with Authlib take Basic as it is, without the decoding of RFC 6749 2.3.1, so
an id with odd characters needs BFF_BASIC_AUTH_ENCODING=raw; and a refusal comes back without
`state` (RFC 6749 4.1.2.1 demands it), so it is nobody's answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.interop.test_story import session_of
from tests.support.processes import Cast, free_port, wait_for
from tests.support.scripted_provider import Answer, scripted_provider
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from tests.conftest import RunService

CLIENT_ID = "odd client id%+/="
CLIENT_SECRET = "odd secret:with %+/=&"


async def test_a_visitor_signs_in_refreshes_and_signs_out(
    cast: Cast, run_service: RunService
) -> None:
    """Sign-in, userinfo, calls, refreshes without rotation, sign-out, and a refusal."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    user = {"sub": "alice +&=/%@example.com", "name": "Alice", "email": "alice@example.com"}
    mock = cast.start(
        ["oidc_provider_mock", "--port", str(port), "--user-claims", json.dumps(user)]
    )
    wait_for(f"{issuer}/.well-known/openid-configuration", mock)
    async with scripted_provider() as api, UserAgent(cast.base_url) as browser:
        api.answers["/api/orders"] = Answer(body={"orders": []})
        service = run_service(
            {
                "BFF_ISSUER": issuer,
                "BFF_CLIENT_ID": CLIENT_ID,
                "BFF_CLIENT_SECRET": CLIENT_SECRET,
                "BFF_BASIC_AUTH_ENCODING": "raw",
                "BFF_ROUTES": json.dumps({"/api": api.issuer}),
            }
        )
        await browser.navigate("/bff/login?return_to=/?from=login")
        page = await browser.submit(2, button=user["sub"])
        assert (page.status, page.url) == (200, f"{cast.base_url}/?from=login")
        session = await session_of(browser)
        assert session["user"]["sub"] == user["sub"]
        assert (session["user"]["name"], session["user"]["email"]) == ("Alice", user["email"])

        assert (await browser.fetch("/api/orders")).status_code == 200
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/api/orders")).status_code == 200
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/api/orders")).status_code == 200
        tokens = [one.headers["authorization"] for one in api.asked]
        assert len(set(tokens)) == 3, "each refresh brought another access token"
        assert (await session_of(browser))["session"]["id"] == session["session"]["id"]

        answer = await browser.fetch("/bff/logout", method="POST")
        page = await browser.navigate(answer.json()["logout_url"], initiator=cast.base_url)
        assert "id_token_hint" in parse_qs(urlsplit(page.url).query)
        page = await browser.submit(button="End session")
        assert (page.status, page.url) == (200, f"{cast.base_url}/")
        assert (await session_of(browser))["authenticated"] is False

        await browser.navigate("/bff/login")
        page = await browser.submit(1, button="Deny")
        assert page.status == 400
        assert service.events("login.failed")[-1]["reason"] == "no_state"
        assert (await session_of(browser))["authenticated"] is False
