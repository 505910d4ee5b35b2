"""A real Redis, and a store on it with a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bff.oidc.provider import Provider
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.store import Lifetimes, SessionStore
from tests.support.clock import Clock
from tests.support.our_side import provider_of
from tests.support.scripted_provider import ScriptedProvider, scripted_provider

SECRET = "a secret for tests, long enough..."
IDLE, ABSOLUTE = 1800.0, 43_200.0


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Our connection to an empty Redis."""
    redis = connect(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
def clock() -> Clock:
    """The clock of the store."""
    return Clock()


def make_store(redis: Redis, clock: Clock) -> SessionStore:
    """Return a store such as each worker has one."""
    return SessionStore(redis, Sealer([SECRET], "session"), Lifetimes(IDLE, ABSOLUTE), clock)


@pytest.fixture
def store(redis: Redis, clock: Clock) -> SessionStore:
    """A store."""
    return make_store(redis, clock)


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedProvider]:
    """A provider on a real socket."""
    async with scripted_provider() as provider:
        yield provider


@pytest.fixture
async def provider(scripted: ScriptedProvider) -> AsyncIterator[Provider]:
    """Our side of it."""
    provider = provider_of(scripted, Clock(1000.0))
    yield provider
    await provider.aclose()
