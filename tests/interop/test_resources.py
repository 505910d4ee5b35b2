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

LIFETIME = 6


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
            access_token_seconds=LIFETIME,
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

        for _ in range(2):
            answers = await asyncio.gather(
                *(browser.fetch(("/orders/x", "/stock/x")[number % 2]) for number in range(40))
            )
            assert Counter(answer.status_code for answer in answers) == {200: 40}
            await asyncio.sleep(LIFETIME)
        assert provider.named("grant.error") == []
        assert (len(set(orders.tokens)), len(set(stock.tokens))) == (2, 2)
