"""The main job, over real sockets, in one worker process and in three.

A visitor signs in, the page calls an API with the token attached, the visitor signs out, and the
provider can sign them out over the back channel: by `sid` one session, by `sub` all of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.support.history import Page
from tests.support.processes import Cast, DevProvider, Service
from tests.support.user_agent import UserAgent

ROUNDS = 12  # enough requests that every one of three workers has answered some


@dataclass
class World:
    """Everyone who takes part."""

    service: Service
    provider: DevProvider
    window: Callable[[], UserAgent]

    async def sign_in(self, browser: UserAgent, user: str = "alice", query: str = "") -> Page:
        """Sign a user in by the provider's page; return the page where the browser arrives."""
        await browser.navigate(f"/bff/login{query}")
        return await browser.submit(button=user)

    async def provider_says(self, **who: str) -> None:
        """Have the provider sign somebody out over the back channel."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.provider.issuer}/dev/logout", params=who)
        assert answer.status_code < 400, answer.text

    async def counted(self) -> dict[str, Any]:
        """What the provider counted so far."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.provider.issuer}/dev/state")
        counters: dict[str, Any] = answer.json()
        return counters


@pytest.fixture(scope="module", params=[1, 3], ids=["one worker", "three workers"])
def stage(
    request: pytest.FixtureRequest, redis_process: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, DevProvider]]:
    """A provider, the demo API, and the service in front of it."""
    with ExitStack() as stack:
        cast = Cast(stack, tmp_path_factory.mktemp("story"), redis_process)
        provider = cast.provider()
        api = cast.api(provider)
        routes = {
            "/api": api,
            "/api/public": {"upstream": api, "auth": "none"},
            "/api/orders": {"upstream": api, "scopes": ["orders:read"]},
            "/api/admin": {"upstream": api, "claims": {"roles": ["admin"]}},
        }
        settings = {**provider.settings(), "BFF_ROUTES": json.dumps(routes)}
        yield cast.service(settings, workers=request.param), provider


@pytest.fixture
async def world(stage: tuple[Service, DevProvider]) -> AsyncIterator[World]:
    """The stage, and windows of browsers without cookies."""
    service, provider = stage
    async with AsyncExitStack() as stack:

        def window() -> UserAgent:
            browser = UserAgent(service.base_url)
            stack.push_async_callback(browser.__aexit__, None, None, None)
            return browser

        yield World(service, provider, window)


async def test_a_visitor_signs_in_calls_the_api_and_signs_out(world: World) -> None:
    """The whole story in one browser, ending on `/` with nobody signed in."""
    browser = world.window()
    revoked = (await world.counted())["counters"].get("revocations.refresh_token", 0)
    assert (await browser.fetch("/api/me")).status_code == 401
    page = await world.sign_in(browser, query="?return_to=/reports?year=2026%23top")
    assert page.url == f"{world.service.base_url}/reports?year=2026#top"
    session = (await browser.fetch("/bff/session")).json()
    assert session["user"]["name"] == "Alice Adams"
    assert 0 < session["session"]["expires_in"] <= 43_200
    for _ in range(ROUNDS):
        answer = await browser.fetch("/api/me")
        assert (answer.status_code, answer.json()["sub"]) == (200, "alice")
    assert (await browser.fetch("/api/orders")).status_code == 200
    assert (await browser.fetch("/api/admin/stats")).status_code == 200
    answer = await browser.fetch("/bff/logout", method="POST")
    page = await browser.navigate(answer.json()["logout_url"], initiator=browser.base_url)
    assert urlsplit(page.url).path == "/"
    sent = next(
        visit.url
        for visit in browser.visits
        if "end_session" in visit.url or urlsplit(visit.url).path == "/logout"
    )
    assert {"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} <= set(
        parse_qs(urlsplit(sent).query)
    )
    for _ in range(ROUNDS):
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is False
    assert (await world.counted())["counters"]["revocations.refresh_token"] == revoked + 1
    assert not world.service.events("logout.state_refused")


async def test_policies_tell_users_apart(world: World) -> None:
    """Bob lacks the role, Carol the scope; both are told so by problem details."""
    for user, path in (("bob", "/api/admin/stats"), ("carol", "/api/orders")):
        browser = world.window()
        await world.sign_in(browser, user)
        assert (await browser.fetch("/api/me")).status_code == 200
        refused = await browser.fetch(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_a_logout_token_with_sid_ends_that_session_on_every_worker(world: World) -> None:
    """The other session of the same user goes on."""
    before = {session["sid"] for session in (await world.counted())["sessions"]}
    here, there = world.window(), world.window()
    await world.sign_in(here)
    await world.sign_in(there)
    sids = {session["sid"] for session in (await world.counted())["sessions"]} - before
    assert len(sids) == 2
    await world.provider_says(sid=sids.pop())
    states = [
        [(await browser.fetch("/bff/session")).json()["authenticated"] for _ in range(ROUNDS)]
        for browser in (here, there)
    ]
    assert sorted(set(map(tuple, states))) == [(False,) * ROUNDS, (True,) * ROUNDS]


async def test_a_logout_token_with_only_sub_ends_all_sessions_of_the_user(world: World) -> None:
    """Both of Alice's sessions end; Bob's goes on."""
    alices, bob = [world.window(), world.window()], world.window()
    for browser in alices:
        await world.sign_in(browser)
    await world.sign_in(bob, "bob")
    await world.provider_says(sub="alice")
    for browser in alices:
        for _ in range(ROUNDS):
            assert (await browser.fetch("/api/me")).status_code == 401
    assert (await bob.fetch("/api/me")).status_code == 200
    await world.sign_in(alices[0])
    assert (await alices[0].fetch("/api/me")).status_code == 200


async def test_tokens_are_refreshed_before_they_end(redis_process: str, tmp_path: Path) -> None:
    """Calls go on past the end of an access token, with one refresh each time it is due."""
    with ExitStack() as stack:
        cast = Cast(stack, tmp_path, redis_process)
        provider = cast.provider("--access-token-lifetime", "5")
        routes = json.dumps({"/api": cast.api(provider)})
        service = cast.service({**provider.settings(), "BFF_ROUTES": routes}, workers=3)
        async with UserAgent(service.base_url) as browser:
            await browser.navigate("/bff/login")
            await browser.submit(button="alice")
            await asyncio.sleep(4.3)
            calls = await asyncio.gather(*(browser.fetch("/api/me") for _ in range(30)))
        assert {answer.status_code for answer in calls} == {200}
        async with httpx2.AsyncClient(trust_env=False) as client:
            counters = (await client.get(f"{provider.issuer}/dev/state")).json()["counters"]
    assert 1 <= counters["token_requests.refresh_token"] <= 2, "a slow machine may need another"
    assert counters.get("reuse_detected.refresh_token", 0) == 0
