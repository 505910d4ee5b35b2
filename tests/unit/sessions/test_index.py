"""The index of a group: an entry outlives its record, and not for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.sessions import names
from bff.sessions.index import EXTEND_EVERY, MARGIN, SLICE, Index
from bff.sessions.redis import Redis
from bff.sessions.session import Session
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.sessions import ISSUER, a_session

from .conftest import IDLE

NOW = Clock().now
BY_SUB = names.group_of_sub(ISSUER, "alice")
BY_SID = names.group_of_sid(ISSUER, "s1")


async def redis_time(redis: Redis) -> float:
    """Return the time by the clock of Redis."""
    seconds, micros = await redis.client.time()
    return float(seconds) + float(micros) / 1e6


async def lasts(redis: Redis, group: str, key: str) -> float | None:
    """Return for how many seconds an entry will be there."""
    score: float | None = await redis.client.zscore(names.index(group), key)
    return None if score is None else score - await redis_time(redis)


async def create(store: SessionStore, session: Session) -> Session:
    """Write a session whose login began long ago."""
    await store.create(session, issued_at=NOW, started_at=0)
    return session


@given(
    idle=st.floats(1, 100_000),
    began=st.floats(0, 1e9),
    pauses=st.lists(st.floats(0.001, 2000), max_size=30),
)
def test_no_record_outlives_its_entry(idle: float, began: float, pauses: list[float]) -> None:
    """However a session is used: after each use, its entry is there longer than its record."""
    some = Index(None, idle)  # type: ignore[arg-type]  # nothing is sent
    now = used = began
    entry_ends = now + some._lasts(1e9) / 1000
    for pause in pauses:
        now += min(pause, idle)
        if some.extension_due(used, now):
            entry_ends = now + some._lasts(1e9) / 1000
        used = now
        assert entry_ends >= used + idle + MARGIN - 1


async def test_a_use_extends_the_entry_once_a_stretch(
    store: SessionStore, redis: Redis, clock: Clock
) -> None:
    """The first use in five minutes writes to the index, the others do not."""
    clock.now = NOW // EXTEND_EVERY * EXTEND_EVERY
    session = await create(store, a_session(now=clock.now))
    whole = IDLE + EXTEND_EVERY + MARGIN
    for name in (BY_SUB, BY_SID):
        await redis.client.zadd(names.index(name), {session.key: await redis_time(redis) + 50})
    clock.advance(EXTEND_EVERY - 1)
    session = await store.touch(session)
    assert await lasts(redis, BY_SUB, session.key) == pytest.approx(50, abs=2)
    clock.advance(1)
    session = await store.touch(session)
    for name in (BY_SUB, BY_SID):
        assert await lasts(redis, name, session.key) == pytest.approx(whole, abs=2)
        assert await redis.client.ttl(names.index(name)) == pytest.approx(whole, abs=2)


async def test_an_entry_never_moves_back(store: SessionStore, redis: Redis) -> None:
    """A shorter time to live, of another session or by another clock, takes none from it."""
    session = await create(store, a_session())
    await create(store, a_session("short", ends_at=NOW + 1))
    await store.index.extend([BY_SUB], session.key, 1)
    whole = pytest.approx(IDLE + EXTEND_EVERY + MARGIN, abs=2)
    assert await lasts(redis, BY_SUB, session.key) == whole
    assert await redis.client.ttl(names.index(BY_SUB)) == whole


async def test_a_lost_entry_comes_back_with_use(
    store: SessionStore, redis: Redis, clock: Clock
) -> None:
    """A session whose index went with a failed server can be signed out again soon."""
    session = await create(store, a_session())
    await redis.client.delete(names.index(BY_SUB), names.index(BY_SID))
    clock.advance(EXTEND_EVERY)
    session = await store.touch(session)
    ended = await store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
    assert [one.key for one in ended] == [session.key]


@pytest.mark.parametrize("by", ["entering", "extend"])
async def test_who_comes_takes_out_what_is_due(store: SessionStore, redis: Redis, by: str) -> None:
    """A hundred at most at a time; what is not due stays."""

    async def come() -> None:
        if by == "extend":
            await store.index.extend([BY_SUB], "new", 1000)
        else:
            await redis.run_in_order([store.index.entering([BY_SUB], "new", 1000)])

    now = await redis_time(redis)
    dead = {f"dead-{number}": now - number - 1 for number in range(250)}
    await redis.client.zadd(names.index(BY_SUB), {**dead, "alive": now + 100})
    for left in (150, 50, 0):
        await come()
        assert await redis.client.zcard(names.index(BY_SUB)) == left + 2
    assert await redis.client.zscore(names.index(BY_SUB), "alive") is not None


async def test_all_members_are_read_in_slices(store: SessionStore, redis: Redis) -> None:
    """Every member comes, few at a time, also when there are very many."""
    now = await redis_time(redis)
    everybody = {f"member-{number}": now + number + 100 for number in range(3000)}
    await redis.client.zadd(names.index(BY_SUB), everybody)
    slices = [keys async for keys in store.index.members(BY_SUB)]
    assert set().union(*slices) == set(everybody)
    assert len(slices) > 10
    assert max(map(len, slices)) < 3 * SLICE
    assert [keys async for keys in store.index.members(BY_SID)] == []


async def test_who_enters_after_a_logout_is_not_ended_by_it(
    store: SessionStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logout that takes long ends those who were there when it came, and nobody newer."""
    old = [await create(store, a_session(f"old-{number}")) for number in range(200)]
    newer: list[Session] = []
    read = Index.members

    async def reading(*arguments: object) -> object:
        async for keys in read(*arguments):  # type: ignore[arg-type]
            number = len(newer)
            fresh = a_session(f"newer-{number}")
            await store.create(fresh, issued_at=NOW, started_at=await redis_time(redis))
            newer.append(fresh)
            yield keys

    monkeypatch.setattr(Index, "members", reading)
    ended = await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    assert {session.key for session in ended} == {session.key for session in old}
    assert newer
    assert [await store.load(session.key) for session in newer] == newer
    monkeypatch.undo()
    ended = await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    assert {session.key for session in ended} == {session.key for session in newer}


async def test_every_key_of_a_group_goes_by_itself(store: SessionStore, redis: Redis) -> None:
    """Index, mark and note of late entries all have a time to live."""
    await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    await store.create(a_session(), issued_at=NOW + 1, started_at=0)
    found = [name.decode() async for name in redis.client.scan_iter("*")]
    assert names.entered_late(BY_SUB) in found
    assert names.entered_late(BY_SID) not in found
    for name in found:
        assert 0 < await redis.client.ttl(name) <= IDLE + EXTEND_EVERY + MARGIN
