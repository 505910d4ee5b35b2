"""Uses of sessions are written down after the requests that use them, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.sessions import touches as module
from bff.sessions.cache import SessionCache
from bff.sessions.session import Session
from bff.sessions.store import EndReason, SessionStore
from bff.sessions.touches import Touches
from tests.support.clock import Clock
from tests.support.sessions import a_session

Uses = Sequence[tuple[Session, Session]]


@pytest.fixture
async def touches(store: SessionStore, clock: Clock) -> AsyncIterator[Touches]:
    """What is tested, over a store that keeps opened records."""
    store.cache = SessionCache(lambda: True, clock, max_age=10**6)
    touches = Touches(store)
    yield touches
    await touches.aclose()


async def made(store: SessionStore, clock: Clock, number: int) -> list[Session]:
    """Return sessions that are in Redis and in the cache."""
    sessions = [a_session(f"s{at}", now=clock.now, sub=f"u{at}") for at in range(number)]
    for session in sessions:
        await store.create(session, issued_at=clock.now, started_at=0)
    found = [await store.load(session.key) for session in sessions]
    return [session for session in found if session is not None]


def watched(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> list[Uses]:
    """Return a list that gets what is written together."""
    written: list[Uses] = []
    real = store.touch_all

    async def touch_all(uses: Uses) -> None:
        written.append(uses)
        await real(uses)

    monkeypatch.setattr(store, "touch_all", touch_all)
    return written


async def test_uses_are_written_together(
    touches: Touches, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many uses of many sessions are one batch, and each session is in it once."""
    sessions = await made(store, clock, 20)
    written = watched(store, monkeypatch)
    clock.advance(61)
    for _ in range(3):
        for session in sessions:
            assert touches.note(session).last_used_at == clock.now
    await touches.aclose()
    assert [len(uses) for uses in written] == [20]
    for session in sessions:
        found = await store.reload(session.key)
        assert found is not None
        assert found.last_used_at == clock.now


async def test_a_large_batch_is_cut(
    touches: Touches, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more go to Redis at once than a number that it does not feel."""
    monkeypatch.setattr(module, "AT_ONCE", 8)
    sessions = await made(store, clock, 20)
    written = watched(store, monkeypatch)
    clock.advance(61)
    for session in sessions:
        touches.note(session)
    await touches.aclose()
    assert [len(uses) for uses in written] == [8, 8, 4]


async def test_nobody_waits_for_it(
    touches: Touches, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis does not answer, further uses are noted at once, and written after it does."""
    one, two = await made(store, clock, 2)
    asked, answer = asyncio.Event(), asyncio.Event()
    real = store.touch_all

    async def slow(uses: Uses) -> None:
        asked.set()
        await answer.wait()
        await real(uses)

    monkeypatch.setattr(store, "touch_all", slow)
    clock.advance(61)
    touches.note(one)
    await asked.wait()
    touches.note(two)
    answer.set()
    await touches.aclose()
    found = await store.load_many([one.key, two.key])
    assert [session and session.last_used_at for session in found] == [clock.now, clock.now]


async def test_the_opened_record_knows_at_once(
    touches: Touches, store: SessionStore, clock: Clock
) -> None:
    """The next request finds the session as used, and has nothing to note."""
    (session,) = await made(store, clock, 1)
    clock.advance(61)
    touches.note(session)
    found = await store.load(session.key)
    assert found is not None
    assert found.last_used_at == clock.now
    assert not found.touch_due(clock.now, store.lifetimes.idle)


async def test_newer_tokens_are_not_overwritten(
    touches: Touches, store: SessionStore, clock: Clock
) -> None:
    """A use of a record that has been replaced meanwhile leaves the new one in the cache."""
    (session,) = await made(store, clock, 1)
    whole = await store.reload(session.key)
    assert whole is not None
    fresh = whole.with_tokens(replace(whole.tokens, access_token="access-two"))
    assert await store.save(fresh)
    await store.load(session.key)
    clock.advance(61)
    touches.note(session)
    await touches.aclose()
    for found in (await store.load(session.key), await store.reload(session.key)):
        assert found is not None
        assert found.tokens.access_token == "access-two"


async def test_the_last_of_several_uses_counts(
    touches: Touches, store: SessionStore, clock: Clock
) -> None:
    """What is written is the time of the latest use."""
    (session,) = await made(store, clock, 1)
    for _ in range(3):
        clock.advance(61)
        touches.note(session)
    await touches.aclose()
    found = await store.reload(session.key)
    assert found is not None
    assert found.last_used_at == clock.now


async def test_an_ended_session_stays_ended(
    touches: Touches, store: SessionStore, clock: Clock
) -> None:
    """A use that is written after the end brings nothing back."""
    (session,) = await made(store, clock, 1)
    clock.advance(61)
    touches.note(session)
    await store.end(session.key, EndReason.LOGOUT)
    await touches.aclose()
    assert await store.reload(session.key) is None
    assert await store.load(session.key) is None


async def test_one_that_cannot_be_written_leaves_the_others(
    touches: Touches, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is taken out of the cache, so that its next use is noted again; one log line."""
    lost, *others = await made(store, clock, 4)
    real = store.touch_all

    async def touch_all(uses: Uses) -> None:
        if any(session.key == lost.key for session, _ in uses):
            raise StoreUnavailableError("test")
        await real(uses)

    monkeypatch.setattr(store, "touch_all", touch_all)
    clock.advance(61)
    with capture_logs() as logs:
        for session in (lost, *others):
            touches.note(session)
        await touches.aclose()
    assert [(line["event"], line["number"]) for line in logs] == [("session.touch_failed", 1)]
    found = await store.load(lost.key)
    assert found is not None
    assert found.touch_due(clock.now, store.lifetimes.idle)
    for session in others:
        other = await store.reload(session.key)
        assert other is not None
        assert other.last_used_at == clock.now


async def test_what_waits_is_bounded(
    touches: Touches, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit a use is not noted; the next one is."""
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    sessions = await made(store, clock, 3)
    written = watched(store, monkeypatch)
    clock.advance(61)
    assert [touches.note(one).last_used_at == clock.now for one in sessions] == [True, True, False]
    assert touches.note(sessions[0]).last_used_at == clock.now
    await touches.aclose()
    assert [len(uses) for uses in written] == [2]
    assert touches.note(sessions[2]).last_used_at == clock.now
