"""Routes with tokens of their own, at the strict dev provider, which rotates refresh tokens."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from bff.sessions import names
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.session import Session
from bff.sessions.store import Lifetimes, SessionStore
from tests.support.fleet import cookie_of, key_of
from tests.support.keep_alive import spread, workers
from tests.support.site import SECRET, Site, open_site, sign_in
from tests.support.strict_api import StrictApi, strict_api
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORM = 200
ORDERS, STOCK = "https://orders.example", "https://stock.example"
AUDIENCES = {"/orders": ORDERS, "/stock": STOCK, "/bills": "bills", "/api": None}


@dataclass
class Place:
    """Two workers, and the API that reads every token."""

    site: Site
    api: StrictApi
    redis: Redis
    store: SessionStore

    async def session(self, browser: UserAgent) -> Session:
        """Return a browser's session as Redis has it."""
        found = await self.store.reload(key_of(browser))
        assert found is not None
        return found

    async def age(self, browser: UserAgent) -> None:
        """Let the session's access token have expired."""
        session = await self.session(browser)
        now = time.time()
        tokens = replace(session.tokens, obtained_at=now - 3600, expires_at=now - 5)
        assert await self.store.save(session.with_tokens(tokens))
        await asyncio.sleep(0.1)  # until both workers have heard of it

    async def counters(self) -> Counter[str]:
        """Return what the provider has counted."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.site.provider.issuer}/dev/state")
            return Counter(answer.json()["counters"])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, StrictApi]]:
    """The service and all that it needs."""
    with strict_api() as api:
        exchange = {"audience": "bills", "scope": "orders:read"}
        routes: dict[str, Any] = {
            "/api": api.url,
            "/orders": {"upstream": api.url, "resource": ORDERS, "scopes": ["orders:read"]},
            "/stock": {"upstream": api.url, "resource": STOCK},
            "/bills": {"upstream": api.url, "token_exchange": exchange},
            "/narrow": {
                "upstream": api.url, "token_exchange": exchange, "scopes": ["orders:read", "email"],
            },
            "/nowhere": {"upstream": api.url, "token_exchange": {"audience": "nobody"}},
        }  # fmt: skip
        options = [f"--resource={one}" for one in (ORDERS, STOCK, "bills")]
        folder = tmp_path_factory.mktemp("upstream-tokens")
        env = {"BFF_ROUTES": json.dumps(routes)}
        with open_site(folder, env, workers=2, provider_options=tuple(options)) as site:
            yield site, api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(started: tuple[Site, StrictApi]) -> AsyncIterator[Place]:
    """The service, with a look into its store."""
    site, api = started
    redis = connect(site.redis_url)
    store = SessionStore(redis, Sealer([SECRET], "session"), Lifetimes(1800, 43_200))
    yield Place(site, api, redis, store)
    await redis.aclose()


async def test_each_upstream_gets_a_token_for_itself(place: Place) -> None:
    """The audience is the route's own, and the same token serves until it ends."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        place.api.seen.clear()
        for path in (*AUDIENCES, *AUDIENCES):
            assert (await browser.fetch(f"{path}/x")).status_code == 200
        for path, audience in AUDIENCES.items():
            seen = [claims for at, claims in place.api.seen if at == f"{path}/x"]
            assert {claims["aud"] for claims in seen} == {audience or place.site.provider.audience}
            assert len({claims["jti"] for claims in seen}) == 1
            assert {claims["sub"] for claims in seen} == {"alice"}
        (bills,) = {claims["scope"] for at, claims in place.api.seen if at == "/bills/x"}
        assert bills == "orders:read"


async def test_a_storm_over_two_resources_with_an_expired_token(place: Place) -> None:
    """Two hundred requests, two workers, three refreshes, and no refresh token comes twice."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        await place.age(browser)
        before = await place.counters()
        place.api.seen.clear()
        connections = await spread(place.site.base_url, STORM, workers(place.site.service.process))
        try:
            answers = await asyncio.gather(
                *(
                    one.ask(("/orders", "/stock")[number % 2], cookie_of(browser))
                    for number, one in enumerate(connections)
                )
            )
        finally:
            await asyncio.gather(*(one.aclose() for one in connections))
        assert Counter(answer.status for answer in answers) == {200: STORM}
        after = await place.counters()
        after.subtract(before)
        assert after["token_requests.refresh_token"] == 3
        assert after["reuse_detected.refresh_token"] == 0
        assert Counter(claims["aud"] for _, claims in place.api.seen) == {
            ORDERS: STORM // 2,
            STOCK: STORM // 2,
        }
        assert len({claims["jti"] for _, claims in place.api.seen}) == 2


async def test_nothing_of_it_outlives_the_session(place: Place) -> None:
    """After the sign-out no key of the session is left but its tombstone."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        assert (await browser.fetch("/orders")).status_code == 200
        assert (await browser.fetch("/bills")).status_code == 200
        key = key_of(browser)
        assert len((await place.session(browser)).upstream_tokens) == 2
        await browser.fetch("/bff/logout", method="POST")
        assert [one async for one in place.redis.scan(f"*{key}*")] == [names.tombstone(key)]
        assert (await browser.fetch("/orders")).status_code == 401


async def test_a_refresh_has_what_was_exchanged_exchanged_anew(place: Place) -> None:
    """The exchanged token was made of the old one."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        place.api.seen.clear()
        assert (await browser.fetch("/bills")).status_code == 200
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/bills")).status_code == 200
        assert len({claims["jti"] for _, claims in place.api.seen}) == 2


@pytest.mark.parametrize("path", ["/orders/stale", "/bills/stale"])
async def test_an_upstream_that_refuses_its_token_gets_another(place: Place, path: str) -> None:
    """Once, at the same request; the session's own token stays as it is."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        own = (await place.session(browser)).tokens.access_token
        place.api.seen.clear()
        place.api.stale.clear()
        assert (await browser.fetch(path)).status_code == 200
        assert len({claims["jti"] for _, claims in place.api.seen}) == len(place.api.seen) == 2
        assert len({claims["aud"] for _, claims in place.api.seen}) == 1
        assert (await place.session(browser)).tokens.access_token == own


async def test_scopes_are_those_of_the_token_that_is_sent(place: Place) -> None:
    """The exchange narrowed them; that the session has more does not count."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        answer = await browser.fetch("/narrow")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_target_that_the_provider_does_not_know(place: Place) -> None:
    """502 with a reason in the log; nothing goes to the upstream, and the session goes on."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        place.api.seen.clear()
        answer = await browser.fetch("/nowhere")
        assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unavailable")
        assert place.api.seen == []
        logged = place.site.logged(answer.headers["x-request-id"])
        assert {one["reason"] for one in logged if one["event"] == "request.refused"} == {
            "no_token_invalid_target"
        }
        refused = place.site.service.events("upstream_token.refused")
        assert {(one["reason"], one["audience"]) for one in refused} == {
            ("invalid_target", "nobody")
        }
        assert (await browser.fetch("/api")).status_code == 200


async def test_a_visitor_without_a_session(place: Place) -> None:
    """No token is asked for anybody."""
    async with place.site.browser() as browser:
        answer = await browser.fetch("/orders")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
