"""A store on a real Redis with a clock that tests move, and workers that refresh at a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from bff.oidc.provider import Provider
from bff.sessions.live import LiveSessions
from bff.sessions.redis import Redis, connect
from bff.sessions.refresh import Refresher
from bff.sessions.seal import Sealer
from bff.sessions.signals import Signals
from bff.sessions.store import Lifetimes, SessionStore
from bff.sessions.upstream_tokens import UpstreamTokens
from tests.support.clock import Clock
from tests.support.our_side import provider_of
from tests.support.scripted_provider import ScriptedProvider

SECRET = "a secret for tests, long enough..."
IDLE, ABSOLUTE = 1800.0, 43_200.0


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
async def provider(scripted: ScriptedProvider) -> AsyncIterator[Provider]:
    """Our side of it."""
    provider = provider_of(scripted, Clock(1000.0))
    yield provider
    await provider.aclose()


class Worker:
    """What one worker process has."""

    def __init__(self, provider: Provider, redis: Redis, clock: Clock) -> None:
        self.store = make_store(redis, clock)
        self.signals = Signals(redis)
        self.live = LiveSessions(self.store, self.signals)
        self.refresher = Refresher(provider, self.store, redis, self.live, clock)
        self.tokens = UpstreamTokens(provider, self.store, self.refresher, clock)

    async def __aenter__(self) -> Worker:
        self.signals.start()
        self.live.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tokens.aclose()
        await self.refresher.aclose()
        await self.live.aclose()
        await self.signals.aclose()


MakeWorker = Callable[[], Awaitable[Worker]]


@pytest.fixture
async def make_worker(
    provider: Provider, redis_url: str, clock: Clock
) -> AsyncIterator[MakeWorker]:
    """A function that starts another worker, with its own connections to Redis."""
    async with AsyncExitStack() as stack:

        async def make() -> Worker:
            redis = connect(redis_url)
            stack.push_async_callback(redis.aclose)
            return await stack.enter_async_context(Worker(provider, redis, clock))

        yield make


@pytest.fixture
async def worker(make_worker: MakeWorker) -> Worker:
    """One worker."""
    return await make_worker()
