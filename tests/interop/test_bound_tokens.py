"""Tokens bound to a key of the session (RFC 9449) at node `oidc-provider`, which verifies proofs.

Once as the FAPI 2.0 Security Profile has it: private_key_jwt, PAR, PS256, and an API that demands
nonces of its own; once as a public client, whose refresh tokens are bound too, with userinfo.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from bff.key_file import make
from tests.interop.test_story import Stage, environment, origin_of, session_of
from tests.support import jose
from tests.support.node_provider import NodeProvider
from tests.support.orders_api import OrdersApi, serving
from tests.support.proofs import ProofJudge
from tests.support.scripted_provider import Answer, Asked
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from tests.conftest import RunService
    from tests.interop.conftest import StartProvider


FAPI = {
    "fapi": {"enabled": True, "profile": "2.0"},
    "pushedAuthorizationRequests": {
        "enabled": True, "requirePushedAuthorizationRequests": True,
    },
}  # fmt: skip


@dataclass(slots=True)
class BoundOrdersApi(OrdersApi):
    """The API, for tokens that name the key of the proof beside them (`cnf`, RFC 9449 6.1)."""

    judge: ProofJudge = field(default_factory=lambda: ProofJudge("", resource=True, demands=True))

    async def answer(self, request: Request) -> JSONResponse:
        """Say who called, or why that can't be believed."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "DPoP":
            return JSONResponse({}, 401, {"WWW-Authenticate": 'DPoP algs="ES256"'})
        self.judge.url = self.url
        target = request.scope["raw_path"].decode()
        asked = Asked(request.method, target, dict(request.headers.items()), b"")
        jkt = self.judge.judge(asked, token)
        if isinstance(jkt, Answer):
            return JSONResponse({}, jkt.status, dict(jkt.headers))
        claims = json.loads(jose.unb64(token.split(".")[1]))
        if claims["cnf"] != {"jkt": jkt}:
            self.judge.faults.append("the token is not bound to this key")
        if not target.startswith("/machine"):  # the service's own token has no scope
            await self.verify(token)
        self.tokens.append(token)
        return JSONResponse({"sub": claims["sub"]})


def no_secret(env: dict[str, str]) -> dict[str, str]:
    """Return the variables without the client's secret."""
    return {name: value for name, value in env.items() if "CLIENT_SECRET" not in name}


async def sign_out(stage: Stage) -> None:
    """Sign out, at the provider too, and see that it went well there."""
    browser, provider = stage.browser, stage.provider
    answer = await browser.fetch("/bff/logout", method="POST")
    await browser.navigate(answer.json()["logout_url"], initiator=stage.base_url)
    page = await browser.submit(button="Yes")
    assert page.url == f"{stage.base_url}/"
    assert (await session_of(browser))["authenticated"] is False
    assert await provider.wait_for("backchannel.success")
    assert await provider.wait_for("grant.revoked")


def refusals(provider: NodeProvider) -> list[Any]:
    """Return what the token endpoint refused, but for demands of a nonce."""
    return [one for one in provider.named("grant.error") if one["error"] != "use_dpop_nonce"]


async def test_the_security_profile_of_fapi(
    run_service: RunService, service_port: int, oidc_provider: StartProvider, tmp_path: Path
) -> None:
    """Sign in, call, refresh, call, sign out: every token bound, every proof believed."""
    base_url = f"http://localhost:{service_port}"
    keys = tmp_path / "client-keys.json"
    make(keys, "ES256", None)
    client = {
        "client_secret": None, "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": f"{base_url}/bff/jwks.json", "token_endpoint_auth_signing_alg": "ES256",
        "require_pushed_authorization_requests": True, "dpop_bound_access_tokens": True,
        "id_token_signed_response_alg": "PS256",
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(serving(BoundOrdersApi))
        provider = oidc_provider(
            base_url,
            client=client,
            api=api.url,
            more={"features": FAPI, "keys": ["PS256"], "dpopNonces": True},
        )
        api.issuer = provider.issuer
        routes = {
            "/api": {"upstream": api.url, "scopes": ["orders:read"]},
            "/machine": {"upstream": api.url, "auth": "client"},
        }
        run_service(
            {
                **no_secret(environment(base_url, provider)),
                "BFF_CLIENT_KEY_FILE": str(keys),
                "BFF_ID_TOKEN_ALG": "PS256",
                "BFF_FETCH_USERINFO": "false",
                "BFF_DPOP": "true",
                "BFF_ROUTES": json.dumps(routes),
            }
        )
        browser = await stack.enter_async_context(UserAgent(base_url))
        stage = Stage(base_url, provider, api, browser)
        page = await stage.sign_in(browser)
        assert (page.status, page.url) == (200, f"{base_url}/?from=login")
        for _ in range(2):
            answer = await browser.fetch("/api/orders?a=b")
            assert (answer.status_code, answer.json()["sub"]) == (200, "alice")
            assert "dpop-nonce" not in answer.headers
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/api/orders")).status_code == 200
        assert len(set(api.tokens)) == 2
        answer = await browser.fetch("/machine/orders")
        assert (answer.status_code, answer.json()["sub"]) == (200, provider.client_id)
        assert (api.judge.faults, api.judge.demanded) == ([], 1)
        await sign_out(stage)
        assert refusals(provider) == provider.named("backchannel.error") == []


async def test_a_public_client(
    run_service: RunService, service_port: int, oidc_provider: StartProvider
) -> None:
    """Its refresh tokens are good with the session's key alone; userinfo takes the bound token."""
    base_url = f"http://localhost:{service_port}"
    client = {
        "client_secret": None, "token_endpoint_auth_method": "none",
        "dpop_bound_access_tokens": True, "grant_types": ["authorization_code", "refresh_token"],
    }  # fmt: skip
    accounts = {"alice": {"name": "Alice Liddell"}}
    provider = oidc_provider(base_url, client=client, accounts=accounts, more={"dpopNonces": True})
    run_service(
        {
            **no_secret(environment(base_url, provider)),
            "BFF_CLIENT_AUTH": "none",
            "BFF_DPOP": "true",
        }
    )
    async with UserAgent(base_url) as browser:
        stage = Stage(base_url, provider, OrdersApi(""), browser)
        assert origin_of(await stage.sign_in(browser)) == base_url
        assert (await session_of(browser))["user"]["name"] == "Alice Liddell"
        for _ in range(2):
            assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert refusals(provider) == []
        await sign_out(stage)
