"""One refresh, whichever worker begins it, on every form of Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from bff.oidc.provider import Provider
from bff.sessions import names
from bff.sessions.lease import RELEASE, RENEW, Lease
from bff.sessions.refresh import Refresher
from tests.support.clock import Clock
from tests.support.our_side import provider_of
from tests.support.redis_forms import Form
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.store_worker import Worker, keys_of, worker


@pytest.fixture
async def provider(scripted: ScriptedProvider) -> AsyncIterator[Provider]:
    """Our side of it."""
    provider = provider_of(scripted, Clock(time.time()))
    yield provider
    await provider.aclose()


async def test_a_lease_has_one_holder(one: Worker, other: Worker) -> None:
    """Only the holder renews it and lets it go; it goes by itself when nobody does."""
    name = names.lease("k")
    leases = [Lease((one, other)[number % 2].redis, "k") for number in range(10)]
    got = await asyncio.gather(*(lease.take() for lease in leases))
    assert sorted(got) == [False] * 9 + [True]
    holder = await one.redis.get(name)
    assert holder is not None
    assert await other.redis.run(RENEW, [name], ["somebody", 60_000]) == 0
    assert await other.redis.run(RELEASE, [name], ["somebody"]) == 0
    assert await other.redis.run(RENEW, [name], [holder, 60_000]) == 1
    assert 55_000 < (await keys_of(one.redis))[name] <= 60_000
    async with leases[got.index(True)].held():
        assert not await leases[got.index(False)].take()
    assert await leases[got.index(False)].take()


async def test_workers_refresh_once(
    one: Worker, form: Form, provider: Provider, scripted: ScriptedProvider
) -> None:
    """Many requests on two workers, one token request, and the same new token for all."""

    async def rotate(asked: Asked) -> Answer:
        assert asked.form["refresh_token"] == "refresh-one"
        await asyncio.sleep(0.1)
        return Answer(
            body={"access_token": "access-two", "token_type": "Bearer", "expires_in": 300,
                  "refresh_token": "refresh-two"}
        )  # fmt: skip

    scripted.answers["/token"] = rotate
    session = await one.sign_in("one", expires_at=time.time() - 1)
    async with worker(form.url) as here, worker(form.url) as there:
        refreshers = [
            Refresher(provider, side.store, side.redis, side.live, time.time)
            for side in (here, there)
        ]
        results = await asyncio.gather(
            *(refreshers[number % 2].fresh(session) for number in range(20))
        )
        tokens = {found.tokens.access_token for found in results if found is not None}
        assert (len(results), tokens) == (20, {"access-two"})
        assert scripted.times("/token") == 1
        stored = await one.store.reload(session.key)
        assert stored is not None
        assert stored.tokens.refresh_token == "refresh-two"
        assert names.lease(session.key) not in await keys_of(one.redis)
        for refresher in refreshers:
            await refresher.aclose()
