"""What may be used once is used once, whichever workers try, on every form of Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from bff.errors import Problem
from bff.sessions import names
from bff.sessions.logins import LOGIN_TTL, SIGN_OUT_TTL
from bff.web.rate_limit import LoginRateLimit
from tests.support.sessions import ISSUER, a_login
from tests.support.store_worker import Worker, keys_of


async def test_a_login_is_taken_once(one: Worker, other: Worker) -> None:
    """As it was kept, with the time of Redis; by its browser and with its state only."""
    await one.logins.keep("browser", "state", a_login(max_age=60, replaces="a-session"))
    assert await other.logins.take("another-browser", "state") is None
    assert await other.logins.take("browser", "another-state") is None
    taken = await asyncio.gather(
        *(side.logins.take("browser", "state") for side in (one, other) * 10)
    )
    (login,) = [found for found in taken if found is not None]
    assert login.started_at == pytest.approx(time.time(), abs=5)
    assert login == a_login(max_age=60, replaces="a-session", started_at=login.started_at)
    assert await keys_of(one.redis) == {}


async def test_a_sign_out_address_is_taken_once(one: Worker, other: Worker) -> None:
    """The address with its `id_token_hint`, and the `state` that comes back from there."""
    url = "https://provider.example/end?id_token_hint=x"
    await one.logins.keep_sign_out("handle", url)
    await one.logins.keep_logout_state("state")
    taken = await asyncio.gather(
        *(side.logins.take_sign_out("handle") for side in (one, other) * 10)
    )
    assert sorted(taken, key=str) == [None] * 19 + [url]
    came = await asyncio.gather(
        *(side.logins.take_logout_state("state") for side in (one, other) * 10)
    )
    assert sorted(came) == [False] * 19 + [True]
    assert await one.logins.take_sign_out("unknown") is None


async def test_a_logout_token_is_known_everywhere(one: Worker, other: Worker) -> None:
    """Its `jti`, of its issuer, for as long as was said."""
    await one.logins.note_seen(ISSUER, "jti", 30)
    assert await other.logins.seen(ISSUER, "jti")
    assert not await other.logins.seen("https://other.example", "jti")
    (ttl,) = (await keys_of(one.redis)).values()
    assert 25_000 < ttl <= 30_000


async def test_a_browser_has_one_latest_session(one: Worker, other: Worker) -> None:
    """Each login learns of the one before, so that none is left over."""
    found = await asyncio.gather(
        *((one, other)[number % 2].logins.latest_session("b", f"k{number}") for number in range(6))
    )
    last = await one.logins.latest_session("b", "last")
    assert sorted([*found, last], key=str) == sorted(
        [None, *(f"k{number}" for number in range(6))], key=str
    )


async def test_each_has_its_time(one: Worker) -> None:
    """Ten minutes for a login, one for the address of a sign-out."""
    await one.logins.keep("browser", "state", a_login())
    await one.logins.keep_sign_out("handle", "https://provider.example/")
    found = await keys_of(one.redis)
    assert found == {
        names.login("browser", "state"): pytest.approx(LOGIN_TTL * 1000, abs=3000),
        names.once("sign-out", "handle"): pytest.approx(SIGN_OUT_TTL * 1000, abs=3000),
    }


async def test_logins_are_counted_over_all_workers(one: Worker, other: Worker) -> None:
    """So many an address, then 429; others are not held up, and counts go by themselves."""
    limits = [LoginRateLimit(side.redis, "5/minute") for side in (one, other)]
    results = await asyncio.gather(
        *(limit.check("192.0.2.1") for limit in limits * 6), return_exceptions=True
    )
    refused = [result for result in results if result is not None]
    assert len(refused) == 7
    for problem in refused:
        assert isinstance(problem, Problem)
        assert problem.status == 429
    await limits[0].check("192.0.2.2")
    found = await keys_of(one.redis)
    assert found
    assert all(0 < ttl <= 120_000 for ttl in found.values())
    assert "192.0.2.1" not in "".join(found)
