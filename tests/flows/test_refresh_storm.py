"""One refresh, however many ask; and what becomes of a session when the provider does not refresh.

Two hundred keep-alive connections to four workers ask at once, at the dev provider, which rotates
refresh tokens and revokes the family of one that comes twice, and at one that is slow, or fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.keep_alive import Answer, Connection, spread, workers
from tests.support.minting import Family
from tests.support.processes import Cast
from tests.support.scripted_provider import Answer as Said
from tests.support.site import sign_in
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORM = 200
WORKERS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Four workers at a provider that does what a test tells it."""
    async with open_fleet(tmp_path_factory.mktemp("storm"), workers=WORKERS) as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connections(fleet: Fleet) -> Sequence[Connection]:
    """As many connections as requests come at once; every worker has some."""
    assert len(fleet.pids) == WORKERS
    return await fleet.spread(STORM)


@pytest.fixture(autouse=True)
def kind_provider(request: pytest.FixtureRequest) -> None:
    """The provider begins every test well and with new counters."""
    if "fleet" in request.fixturenames:
        minting = request.getfixturevalue("fleet").minting
        minting.delay, minting.refusal, minting.members = 0.0, None, None
        minting.counted.clear()


async def storm(connections: Sequence[Connection], cookie: str) -> list[Answer]:
    """Call the API on all connections at once."""
    return await asyncio.gather(*(one.ask("/api/me", cookie) for one in connections))


def statuses(answers: Sequence[Answer]) -> Counter[int]:
    """Count the answers."""
    return Counter(answer.status for answer in answers)


async def test_two_hundred_requests_make_one_refresh(redis_process: str, tmp_path: Path) -> None:
    """At the strict dev provider: once when the token is due, once more when it has expired."""
    lifetime = 5.0
    async with contextlib.AsyncExitStack() as stack:
        cast = Cast(stack.enter_context(contextlib.ExitStack()), tmp_path, redis_process)
        provider = cast.provider("--access-token-lifetime", f"{lifetime:.0f}")
        routes = {"/api": cast.api(provider)}
        env = {**provider.settings(), "BFF_ROUTES": json.dumps(routes)}
        service = cast.service(env, workers=WORKERS)
        browser = await stack.enter_async_context(UserAgent(service.base_url))
        pids = workers(service.process)
        assert len(pids) == WORKERS
        opened = await spread(service.base_url, STORM, pids)
        for one in opened:
            stack.push_async_callback(one.aclose)
        async with httpx2.AsyncClient(trust_env=False) as client:
            await sign_in(browser)
            for refreshes, wait in ((1, lifetime * 0.85), (2, lifetime * 1.1)):
                await asyncio.sleep(wait)
                answers = await storm(opened, cookie_of(browser))
                assert statuses(answers) == {200: STORM}
                counters = (await client.get(f"{provider.issuer}/dev/state")).json()["counters"]
                assert counters["token_requests.refresh_token"] == refreshes
                assert counters.get("reuse_detected.refresh_token", 0) == 0


async def test_all_wait_for_a_slow_provider_when_the_token_has_expired(
    fleet: Fleet, connections: Sequence[Connection]
) -> None:
    """One refresh of two seconds serves them all, on every worker, with the new token."""
    browser = await fleet.signed_in()
    old = await fleet.age(browser, left=-5)
    fleet.minting.delay = 2.0
    fleet.upstream.tokens.clear()
    answers = await storm(connections, cookie_of(browser))
    assert statuses(answers) == {200: STORM}
    session = await fleet.session(browser)
    assert session is not None
    assert session.generation == old.generation + 1
    assert set(fleet.upstream.tokens) == {session.tokens.access_token}
    assert fleet.minting.counted == {"codes": 1, "refreshes": 1}


async def test_nobody_waits_long_for_a_slow_provider_while_the_token_lives(
    fleet: Fleet, connections: Sequence[Connection]
) -> None:
    """They get on with the old token, and the refresh is saved when it comes."""
    browser = await fleet.signed_in()
    old = await fleet.age(browser, left=30)
    fleet.minting.delay = 4.0
    fleet.upstream.tokens.clear()
    watch = Stopwatch()
    answers = await storm(connections, cookie_of(browser))
    assert watch.seconds() < 3.5
    assert statuses(answers) == {200: STORM}
    assert set(fleet.upstream.tokens) == {old.tokens.access_token}
    await until_refreshed(fleet, browser, old.generation)
    answers = await storm(connections, cookie_of(browser))
    assert statuses(answers) == {200: STORM}
    assert fleet.upstream.tokens[-1] != old.tokens.access_token
    assert fleet.minting.counted == {"codes": 1, "refreshes": 1}


async def test_a_refresh_is_saved_though_its_browser_has_gone(fleet: Fleet) -> None:
    """Who caused it leaves before the provider answers; the next one finds the new tokens."""
    browser = await fleet.signed_in()
    old = await fleet.age(browser, left=-5)
    fleet.minting.delay = 1.0
    leaver, later = await fleet.connections(2)
    await leaver.send("/api/me", cookie_of(browser))
    while not fleet.minting.counted["refreshes"]:
        await asyncio.sleep(0.02)
    await leaver.aclose()
    await until_refreshed(fleet, browser, old.generation)
    assert (await later.ask("/api/me", cookie_of(browser))).status == 200
    assert fleet.minting.counted["refreshes"] == 1


async def until_refreshed(fleet: Fleet, browser: UserAgent, generation: int) -> None:
    """Wait until the browser's record is newer than this generation."""
    async with asyncio.timeout(8):
        while True:
            session = await fleet.session(browser)
            assert session is not None
            if session.generation > generation:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("said", "members", "reason"),
    [
        (Said(400, {"error": "invalid_grant"}), None, "revoked"),
        (None, "another_user", "wrong_user"),
    ],
    ids=["invalid_grant", "another sub"],
)
async def test_the_provider_ends_a_session(
    fleet: Fleet,
    connections: Sequence[Connection],
    said: Said | None,
    members: str | None,
    reason: str,
) -> None:
    """401 for all who asked, and on every worker from then on; the reason is told and logged."""

    def another_user(family: Family) -> dict[str, Any]:
        return {"id_token": fleet.minting.id_token(family, sub="mallory")}

    browser = await fleet.signed_in()
    await fleet.age(browser, left=-5)
    listener = (await fleet.connections(1))[0]
    await listener.send("/bff/events", cookie_of(browser))
    assert (await listener.head())[0] == 200
    heard = asyncio.ensure_future(_all(listener))
    fleet.minting.refusal, fleet.minting.members = said, another_user if members else None
    before = len(fleet.logged("session.ended"))
    answers = await storm(connections, cookie_of(browser))
    assert statuses(answers) == {401: STORM}
    assert f'session.ended\ndata: {{"reason":"{reason}"}}' in await asyncio.wait_for(heard, 10)
    assert [line["reason"] for line in fleet.logged("session.ended")[before:]] == [reason]
    assert statuses(await storm(connections, cookie_of(browser))) == {401: STORM}
    assert await fleet.session(browser) is None
    assert fleet.minting.counted["refreshes"] == 1


async def _all(connection: Connection) -> str:
    return "".join([piece.decode() async for piece in connection.pieces()])


async def test_the_old_refresh_token_stays_where_no_new_one_comes(fleet: Fleet) -> None:
    """It is used again at the next expiry, and the one after."""
    browser = await fleet.signed_in()
    before = await fleet.session(browser)
    assert before is not None
    fleet.minting.members = lambda _: {"refresh_token": None}
    connection = (await fleet.connections(1))[0]
    for expiry in (1, 2, 3):
        await fleet.age(browser, left=-5)
        assert (await connection.ask("/api/me", cookie_of(browser))).status == 200
        session = await fleet.session(browser)
        assert session is not None
        assert session.tokens.refresh_token == before.tokens.refresh_token
        assert session.tokens.access_token != before.tokens.access_token
        assert fleet.minting.counted == {"codes": 1, "refreshes": expiry}


SILENT = None
FAILURES = {
    "500": Said(500, {"error": "server_error"}),
    "invalid_client": Said(401, {"error": "invalid_client"}),
    "silence": SILENT,
}


async def test_a_provider_that_fails_signs_nobody_out(tmp_path: Path) -> None:
    """Each way of failing, each with its own service, all at the same time."""
    folders = {name: tmp_path / name.replace(" ", "-") for name in FAILURES}
    for folder in folders.values():
        folder.mkdir()
    async with asyncio.TaskGroup() as group:
        for name, folder in folders.items():
            group.create_task(outlast(folder, FAILURES[name]), name=name)


async def outlast(folder: Path, failure: Said | None) -> None:
    """While the token lives it costs nothing; then it is 503, and then everything goes on."""
    number = 2
    async with open_fleet(folder, workers=number) as fleet:
        browser = await fleet.signed_in()
        opened = await fleet.spread(40)
        old = await fleet.age(browser, left=30)
        fleet.minting.refusal = failure
        fleet.minting.delay = 60 if failure is SILENT else 0
        began = time.monotonic()
        rounds = 0
        while (passed := time.monotonic() - began) < 3.2:
            answers = await storm(opened, cookie_of(browser))
            assert statuses(answers) == {200: len(opened)}
            rounds += 1
            await asyncio.sleep(0.2)
        assert set(fleet.upstream.tokens) == {old.tokens.access_token}
        # Each worker asks by itself after pauses of 1, 2, 4 ... seconds.
        assert 1 <= fleet.minting.counted["refreshes"] <= number * (1 + passed)
        assert rounds > 2

        await fleet.age(browser, left=-5)
        asked = fleet.minting.counted["refreshes"]
        answers = await storm(opened, cookie_of(browser))
        assert statuses(answers) == {503: len(opened)}
        assert {answer.json()["code"] for answer in answers} == {"provider_unavailable"}
        assert fleet.minting.counted["refreshes"] <= asked + number
        answers = await asyncio.gather(
            *(one.ask("/bff/session", cookie_of(browser)) for one in opened)
        )
        assert all(answer.json()["authenticated"] for answer in answers)

        fleet.minting.refusal, fleet.minting.delay = None, 0
        async with asyncio.timeout(20):
            while set(statuses(await storm(opened, cookie_of(browser)))) != {200}:
                await asyncio.sleep(0.5)
        assert not fleet.minting.counted["reused"]
        assert not fleet.logged("session.ended")
