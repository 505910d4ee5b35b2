"""Routes with tokens of their own (RFC 8707) at node `oidc-provider`, which rotates refresh tokens.

Each API believes only tokens that the provider signed for that API; one for the other is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.interop.test_story import Stage, environment
from tests.support.orders_api import orders_api
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from tests.conftest import RunService
    from tests.interop.conftest import StartProvider

AT_ONCE = 8


async def test_each_api_gets_a_token_for_itself(
    run_service: RunService, service_port: int, oidc_provider: StartProvider
) -> None:
    """Asked for at the sign-in, got at the refresh; many at once, and no refresh token twice."""
    base_url = f"http://localhost:{service_port}"
    async with AsyncExitStack() as stack:
        orders = await stack.enter_async_context(orders_api())
        stock = await stack.enter_async_context(orders_api())
        provider = oidc_provider(
            base_url,
            api=orders.url,
            more={"resources": [stock.url]},
        )
        orders.issuer = stock.issuer = provider.issuer
        scopes = ["orders:read"]
        routes = {
            "/orders": {"upstream": orders.url, "resource": orders.url, "scopes": scopes},
            "/stock": {"upstream": stock.url, "resource": stock.url, "scopes": scopes},
            "/wrong": {"upstream": stock.url},
        }
        run_service(
            {
                **environment(base_url, provider),
                "BFF_ROUTES": json.dumps(routes),
                "BFF_FETCH_USERINFO": "false",
            }
        )
        browser = await stack.enter_async_context(UserAgent(base_url))
        await Stage(base_url, provider, orders, browser).sign_in(browser)
        assert (await browser.fetch("/wrong")).status_code == 401, "the session's is for orders"

        before = len(provider.named("grant.success"))
        answers = await asyncio.gather(
            *(browser.fetch(("/orders/x", "/stock/x")[number % 2]) for number in range(AT_ONCE))
        )
        assert Counter(answer.status_code for answer in answers) == {200: AT_ONCE}
        assert (len(set(orders.tokens)), len(set(stock.tokens))) == (1, 1)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/stock/y")).status_code == 200
        grants = [one["grant_type"] for one in provider.named("grant.success")][before:]
        assert grants == ["refresh_token"] * 3
        assert provider.named("grant.error") == []
