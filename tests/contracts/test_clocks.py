"""Workers whose clocks differ by minutes: what is ended stays ended, and nobody is signed out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bff.sessions import names
from bff.sessions.refresh import Refresher
from bff.sessions.session import Session
from bff.sessions.store import EndReason, LoggedOutError
from tests.support.our_side import provider_of
from tests.support.redis_forms import Form
from tests.support.scripted_provider import Answer, Asked, scripted_provider
from tests.support.sessions import ISSUER, a_login, a_session
from tests.support.store_worker import LIFETIMES, Worker, empty, keys_of, worker

APART = 120.0  # seconds that each clock is off, in either direction


def fast() -> float:
    """Return the time of a clock that is ahead."""
    return time.time() + APART


def slow() -> float:
    """Return the time of a clock that is behind."""
    return time.time() - APART


@pytest.fixture
async def workers(forms: dict[str, Form]) -> AsyncIterator[tuple[Worker, Worker]]:
    """One worker with each clock, on an empty Redis."""
    url = forms["tcp"].url
    async with AsyncExitStack() as stack:
        ahead = await stack.enter_async_context(worker(url, clock=fast))
        behind = await stack.enter_async_context(worker(url, clock=slow))
        await empty(ahead.redis)
        yield ahead, behind


async def signed_in(at: Worker, **changes: object) -> Session:
    """Sign in at a worker, as a login does that begins and ends there."""
    await at.logins.keep("browser", "state", a_login())
    login = await at.logins.take("browser", "state")
    assert login is not None
    now = at.store.clock()
    session = a_session(str(now), now=now, **changes)
    await at.store.create(session, issued_at=time.time(), started_at=login.started_at)
    return session


async def test_a_session_lives_on_both(workers: tuple[Worker, Worker]) -> None:
    """Whoever made it, both serve it, and Redis keeps it for the idle time to within the skew."""
    for maker, reader in (workers, workers[::-1]):
        session = await signed_in(maker)
        assert await reader.store.load(session.key) is not None
        left = (await keys_of(maker.redis))[names.record(session.key)] / 1000
        assert LIFETIMES.idle - 5 < left <= LIFETIMES.idle


async def test_a_late_clock_takes_no_use_back(workers: tuple[Worker, Worker]) -> None:
    """A use that the fast worker wrote down is not replaced by an older one of the slow worker."""
    ahead, behind = workers
    session = await signed_in(ahead)
    used = await ahead.store.touch(session)
    await behind.store.touch(used)
    kept = await behind.store.reload(session.key)
    assert kept is not None
    assert kept.last_used_at == pytest.approx(used.last_used_at, abs=0.002)


async def test_a_sign_out_bars_by_the_clock_of_redis(workers: tuple[Worker, Worker]) -> None:
    """A login that began before a sign-out is barred, one that began after passes, on both."""
    for signing_out, signing_in in (workers, workers[::-1]):
        await signing_in.logins.keep("browser", "state", a_login())
        begun = await signing_in.logins.take("browser", "state")
        assert begun is not None
        session = await signed_in(signing_in)
        await asyncio.sleep(0.01)
        now = int(time.time())
        ended = await signing_out.store.end_sub(ISSUER, "alice", now, EndReason.BACKCHANNEL)
        assert session.key in {one.key for one in ended}
        assert await signing_in.store.load(session.key) is None
        late = a_session(f"late-{signing_in.store.clock()}", now=signing_in.store.clock())
        with pytest.raises(LoggedOutError):
            await signing_in.store.create(late, issued_at=now, started_at=begun.started_at)
        again = await signed_in(signing_in)
        assert await signing_out.store.load(again.key) is not None


async def test_clocks_apart_refresh_once(workers: tuple[Worker, Worker]) -> None:
    """The token has ended by one clock and not by the other: the provider is asked once."""

    async def rotate(asked: Asked) -> Answer:
        assert asked.form["refresh_token"] == "refresh-one"
        await asyncio.sleep(0.1)
        return Answer(
            body={"access_token": "access-two", "token_type": "Bearer", "expires_in": 3600,
                  "refresh_token": "refresh-two"}
        )  # fmt: skip

    async with scripted_provider() as scripted:
        scripted.answers["/token"] = rotate
        sides = []
        for at in workers:
            provider = provider_of(scripted, at.store.clock)
            sides.append(
                (provider, Refresher(provider, at.store, at.redis, at.live, at.store.clock))
            )
        session = await signed_in(workers[1], expires_at=time.time() + 60)
        found = await asyncio.gather(*(side.fresh(session) for _, side in sides * 10))
        ahead = [one for one in found[::2] if one is not None]
        assert {one.tokens.access_token for one in ahead} == {"access-two"}
        assert None not in found
        assert scripted.times("/token") == 1
        for provider, side in sides:
            await side.aclose()
            await provider.aclose()
