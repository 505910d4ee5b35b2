"""Who must know when a session ends hears of it: by message, by looking, and after a silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from bff.sessions import live as live_module
from bff.sessions.live import LiveSessions
from bff.sessions.redis import connect
from bff.sessions.session import Session
from bff.sessions.signals import Signals
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.sessions import ISSUER, a_session
from tests.support.stopwatch import Stopwatch
from tests.support.watching import ending

from .conftest import make_store

SOON = 1.0


class Worker:
    """What one worker process has."""

    def __init__(self, store: SessionStore, signals: Signals) -> None:
        self.store = store
        self.signals = signals
        self.live = LiveSessions(store, signals)


MakeWorker = Callable[[], Awaitable[Worker]]


@pytest.fixture
async def make_worker(redis_url: str, clock: Clock) -> AsyncIterator[MakeWorker]:
    """A function that starts a worker, with its own connections to Redis."""
    async with AsyncExitStack() as stack:

        async def make() -> Worker:
            redis = connect(redis_url)
            stack.push_async_callback(redis.aclose)
            worker = Worker(make_store(redis, clock), Signals(redis))
            worker.signals.start()
            worker.live.start()
            stack.push_async_callback(worker.signals.aclose)
            stack.push_async_callback(worker.live.aclose)
            await eventually(lambda: worker.signals.proven)
            return worker

        yield make


async def eventually(holds: Callable[[], bool], seconds: float = 3.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def a_live_session(store: SessionStore, name: str = "one") -> Session:
    """Return a session that is in Redis."""
    session = a_session(name)
    await store.create(session, issued_at=session.created_at, started_at=0)
    return session


async def heard(event: asyncio.Event) -> None:
    """Expect an event soon."""
    async with asyncio.timeout(SOON):
        await event.wait()


async def test_an_ending_is_heard_on_every_worker(make_worker: MakeWorker) -> None:
    """Wherever it is ended, all who watch it are told at once, and nobody else."""
    here, there = await make_worker(), await make_worker()
    session, other = await a_live_session(here.store), await a_live_session(here.store, "two")
    with (
        ending(here.live, session.key) as first, ending(here.live, session.key) as second,
        ending(there.live, session.key) as third, ending(there.live, other.key) as bystander,
    ):  # fmt: skip
        watch = Stopwatch()
        await there.store.end(session.key, EndReason.LOGOUT)
        for event in (first, second, third):
            await heard(event)
        assert watch.seconds() < 0.2
        assert not bystander.is_set()


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_logout_by_the_provider_is_heard(make_worker: MakeWorker, by: str) -> None:
    """By sid and by sub, on the worker that did not do it."""
    here, there = await make_worker(), await make_worker()
    session = await a_live_session(here.store)
    with ending(here.live, session.key) as event:
        if by == "sid":
            await there.store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
        else:
            await there.store.end_sub(
                ISSUER, "alice", int(session.created_at), EndReason.BACKCHANNEL
            )
        await heard(event)


async def test_followers_hear_the_reason(make_worker: MakeWorker) -> None:
    """And of new tokens, which are no ending."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    told: list[tuple[str, str]] = []
    with (
        worker.live.follow(session.key, lambda kind, reason: told.append((kind, reason))),
        ending(worker.live, session.key) as ended, worker.live.watch_change(session.key) as changed,
    ):  # fmt: skip
        await worker.store.save(session.with_tokens(session.tokens))
        await heard(changed)
        assert not ended.is_set()
        await worker.store.end(session.key, EndReason.REPLACED)
        await heard(ended)
    assert told == [("changed", ""), ("ended", "replaced")]


async def test_a_session_that_is_gone_already_is_told(make_worker: MakeWorker) -> None:
    """Who begins to watch too late is told soon."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    await worker.store.end(session.key, EndReason.LOGOUT)
    with ending(worker.live, session.key) as event, ending(worker.live, "never was") as other:
        await heard(event)
        await heard(other)


async def test_a_session_that_runs_out_of_time_is_told(
    make_worker: MakeWorker, clock: Clock
) -> None:
    """Nobody sends a message then; it is looked up when its time is over."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    with ending(worker.live, session.key) as event:
        await asyncio.sleep(0.6)
        assert not event.is_set()
        clock.advance(1801)
        await heard(event)


async def test_a_session_in_use_lives_on(make_worker: MakeWorker, clock: Clock) -> None:
    """Looking it up again and again ends nothing."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    with ending(worker.live, session.key) as event:
        for _ in range(5):
            clock.advance(1000)
            session = await worker.store.touch(session)
            await asyncio.sleep(0.3)
        assert not event.is_set()


async def test_a_missed_message_is_made_up_for(
    make_worker: MakeWorker, redis_url: str, clock: Clock
) -> None:
    """The subscription breaks, the session ends unheard, and is told all the same."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    operator = connect(redis_url)
    with ending(worker.live, session.key) as event:
        await asyncio.sleep(0.4)
        await operator.client.client_kill_filter(_type="pubsub")
        await make_store(operator, clock).end(session.key, EndReason.LOGOUT)
        async with asyncio.timeout(3):
            await event.wait()
    await eventually(lambda: worker.signals.proven)
    await operator.aclose()


async def test_it_looks_now_and_then_by_itself(
    make_worker: MakeWorker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where no message came and nothing was known to be missed."""
    monkeypatch.setattr(live_module, "LOOK_EVERY", 5.0)
    worker = await make_worker()
    session = await a_live_session(worker.store)
    with ending(worker.live, session.key) as event:
        await asyncio.sleep(0.4)
        await worker.store._redis.client.delete(f"bff:{{{session.key}}}:session")
        await asyncio.sleep(0.4)
        assert not event.is_set()
        clock.advance(5.1)
        await heard(event)


async def test_nobody_is_told_that_redis_is_away(
    make_worker: MakeWorker, redis_url: str, clock: Clock
) -> None:
    """A Redis that does not answer ends no stream."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    operator = connect(redis_url)
    with ending(worker.live, session.key) as event:
        await operator.client.client_pause(1500)
        clock.advance(6)
        await asyncio.sleep(1.6)
        assert not event.is_set()
        await eventually(lambda: worker.signals.proven)
        await asyncio.sleep(0.3)
        assert not event.is_set()
    await operator.aclose()


async def test_who_has_left_is_not_told(make_worker: MakeWorker) -> None:
    """A watcher that is gone leaves the others; the last one leaves nothing."""
    worker = await make_worker()
    session = await a_live_session(worker.store)
    with ending(worker.live, session.key) as stays:
        with ending(worker.live, session.key) as leaves:
            pass
        await worker.store.end(session.key, EndReason.LOGOUT)
        await heard(stays)
        assert not leaves.is_set()
    assert worker.live._watched == {}


async def test_many_sessions_are_looked_up_together(make_worker: MakeWorker) -> None:
    """More than a batch of them: the ended are told, the living are not."""
    worker = await make_worker()
    sessions = [await a_live_session(worker.store, f"n{number}") for number in range(150)]
    for session in sessions[::3]:
        await worker.store._redis.client.delete(f"bff:{{{session.key}}}:session")
    with Watches(worker.live, sessions) as events:
        await eventually(lambda: sum(event.is_set() for event in events) == 50)
        await asyncio.sleep(0.3)
        assert [event.is_set() for event in events] == [n % 3 == 0 for n in range(150)]


class Watches:
    """Watches many sessions at once."""

    def __init__(self, live: LiveSessions, sessions: list[Session]) -> None:
        self._watches = [ending(live, session.key) for session in sessions]

    def __enter__(self) -> list[asyncio.Event]:
        return [watch.__enter__() for watch in self._watches]

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.__exit__(None, None, None)


@pytest.mark.parametrize("attempt", range(3))
async def test_stopping_is_done_at_any_moment(make_worker: MakeWorker, attempt: int) -> None:
    """Also in the middle of a PING, which redis-py would rather finish."""
    workers = [await make_worker() for _ in range(10)]
    await asyncio.sleep(0.07 * attempt)
    async with asyncio.timeout(10):
        for worker in workers:
            await worker.live.aclose()
            await worker.signals.aclose()
    assert not any(
        task.get_name() in {"live", "signals"} for task in asyncio.all_tasks() if not task.done()
    )


async def test_closing_what_never_began(redis_url: str, clock: Clock) -> None:
    """A start that failed half way can be undone."""
    redis = connect(redis_url)
    signals = Signals(redis)
    live = LiveSessions(make_store(redis, clock), signals)
    await live.aclose()
    await signals.aclose()
    assert not signals.proven
    await redis.aclose()
