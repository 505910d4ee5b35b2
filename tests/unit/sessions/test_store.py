"""The session store: every promise of its docstring, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.index import EXTEND_EVERY, MARGIN
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.session import Session
from bff.sessions.store import (
    TOMBSTONE_TTL,
    EndReason,
    Lifetimes,
    LoggedOutError,
    SessionStore,
)
from tests.support.clock import Clock
from tests.support.processes import free_port
from tests.support.sessions import ISSUER, a_session
from tests.support.stopwatch import Stopwatch

from .conftest import ABSOLUTE, IDLE, SECRET, make_store

NOW = Clock().now
LONG_AGO = 0.0


async def create(store: SessionStore, session: Session, **times: float) -> Session:
    """Write a session whose login began long ago, unless told otherwise."""
    await store.create(session, **{"issued_at": NOW, "started_at": LONG_AGO, **times})
    return session


async def redis_time(redis: Redis) -> float:
    """Return the time by the clock of Redis."""
    seconds, micros = await redis.client.time()
    return float(seconds + micros / 1e6)


async def members(redis: Redis, group: str) -> dict[str, float]:
    """Return the keys in a group's index, with the times at which they end."""
    found = await redis.client.zrange(names.index(group), 0, -1, withscores=True)
    return {key.decode(): score for key, score in found}


BY_SUB = names.group_of_sub(ISSUER, "alice")
BY_SID = names.group_of_sid(ISSUER, "s1")


async def test_what_was_made_is_loaded(store: SessionStore) -> None:
    """A session comes back as it was; an unknown key is none."""
    session = await create(store, a_session())
    assert await store.load(session.key) == session
    assert await store.load(names.session_key("other")) is None


async def test_nothing_is_in_redis_in_clear(store: SessionStore, redis: Redis) -> None:
    """No token, claim, subject, issuer or session id stands in any key or value."""
    await create(store, a_session("the-session-id"))
    everything = b""
    for name in await redis.client.keys("*"):
        kind = await redis.client.type(name)
        value = (
            await redis.client.get(name)
            if kind == b"string"
            else b"".join(await redis.client.zrange(name, 0, -1))
        )
        everything += name + value
    for secret in (b"access-one", b"refresh-one", b"alice", b"Alice", b"s1", b"192.0.2.7",
                   b"login.example", b"the-session-id"):  # fmt: skip
        assert secret not in everything


async def test_it_is_entered_into_its_groups(store: SessionStore, redis: Redis) -> None:
    """By `sub` and by `sid`, for longer than its record can live without being used again."""
    one = await create(store, a_session("one"))
    two = await create(store, a_session("two", sid="s2", ends_at=NOW + 100))
    three = await create(store, a_session("three", sid=None, ends_at=NOW + 200))
    now = await redis_time(redis)
    assert await members(redis, BY_SUB) == {
        one.key: pytest.approx(now + IDLE + EXTEND_EVERY + MARGIN, abs=2),
        two.key: pytest.approx(now + 100 + MARGIN, abs=2),
        three.key: pytest.approx(now + 200 + MARGIN, abs=2),
    }
    assert set(await members(redis, BY_SID)) == {one.key}


async def test_the_record_lives_as_long_as_the_session(store: SessionStore, redis: Redis) -> None:
    """Idle time-out, cut short by the absolute one."""
    long = await create(store, a_session("long"))
    short = await create(store, a_session("short", ends_at=NOW + 50))
    assert IDLE - 5 < await redis.client.pttl(names.record(long.key)) / 1000 <= IDLE
    assert 45 < await redis.client.pttl(names.record(short.key)) / 1000 <= 50


async def test_idle_and_absolute_end(store: SessionStore, clock: Clock) -> None:
    """A record that Redis still has is no session once a clock has run out."""
    session = await create(store, a_session(ends_at=NOW + 2000))
    clock.advance(IDLE - 1)
    session = await store.touch(session)
    assert session.last_used_at == clock.now
    clock.advance(200)
    assert await store.load(session.key) == session
    clock.advance(2)
    assert await store.load(session.key) is None


async def test_a_use_puts_off_the_idle_end(store: SessionStore, redis: Redis, clock: Clock) -> None:
    """Last use and time to live move forward, never back, and nothing else changes."""
    session = await create(store, a_session())
    for _ in range(300):
        clock.advance(97.003)
        used = await store.touch(session)
        assert used == replace(session, last_used_at=clock.now)
        found = await store.load(session.key)
        assert found is not None
        assert found.last_used_at == pytest.approx(clock.now, abs=0.002)
        assert found.tokens == session.tokens
    latest = clock.now
    clock.advance(-50)
    await store.touch(session)
    found = await store.load(session.key)
    assert found is not None
    assert found.last_used_at == pytest.approx(latest, abs=0.002)
    left = await redis.client.pttl(names.record(session.key)) / 1000
    assert left == pytest.approx(min(IDLE, session.ends_at - latest), abs=5)


async def test_the_last_use_before_the_absolute_end(store: SessionStore, clock: Clock) -> None:
    """A use never outlives the absolute end."""
    session = await create(store, a_session(ends_at=NOW + 10))
    clock.advance(9)
    await store.touch(session)
    clock.advance(1)
    assert await store.load(session.key) is None


async def test_a_use_brings_nothing_back(store: SessionStore, redis: Redis) -> None:
    """A touch of an ended session writes nothing."""
    session = await create(store, a_session())
    await store.end(session.key, EndReason.LOGOUT)
    await store.touch(session)
    assert await redis.client.exists(names.record(session.key)) == 0


async def test_a_save_replaces_the_generation_it_read(store: SessionStore, redis: Redis) -> None:
    """New tokens are there, the last use and the time to live stay as they were."""
    session = await create(store, a_session())
    fresh = session.with_tokens(replace(session.tokens, access_token="access-two"))
    before = await redis.client.pttl(names.record(session.key))
    assert await store.save(fresh)
    assert await store.load(session.key) == fresh
    assert before - 2000 < await redis.client.pttl(names.record(session.key)) <= before


async def test_only_one_of_two_saves_wins(store: SessionStore) -> None:
    """Two writers that read the same generation: the second is told, and changes nothing."""
    session = await create(store, a_session())
    one = session.with_tokens(replace(session.tokens, access_token="one"))
    two = session.with_tokens(replace(session.tokens, access_token="two"))
    assert await store.save(one)
    assert not await store.save(two)
    assert await store.load(session.key) == one
    assert not await store.save(one)
    later = one.with_tokens(two.tokens)
    assert await store.save(later)
    assert await store.load(session.key) == later


async def test_a_save_brings_nothing_back(store: SessionStore, redis: Redis) -> None:
    """An ended session, and one that never was, cannot be saved."""
    session = await create(store, a_session())
    await store.end(session.key, EndReason.LOGOUT)
    assert not await store.save(session.with_tokens(session.tokens))
    assert not await store.save(a_session("never", generation=1))
    assert await redis.client.keys("*:session") == []


async def test_an_ended_session_is_gone_for_good(store: SessionStore, redis: Redis) -> None:
    """Record and index entries go, a tombstone stays, and the key is never written again."""
    session = await create(store, a_session())
    assert await store.end(session.key, EndReason.LOGOUT) == session
    assert await store.load(session.key) is None
    assert await members(redis, BY_SUB) == await members(redis, BY_SID) == {}
    tombstone = names.tombstone(session.key)
    assert await redis.client.get(tombstone) == b"logout"
    assert TOMBSTONE_TTL - 5 < await redis.client.ttl(tombstone) <= TOMBSTONE_TTL
    with pytest.raises(LoggedOutError):
        await create(store, session)
    assert await store.load(session.key) is None


async def test_ending_twice_is_ending_once(store: SessionStore) -> None:
    """The first one gets the session, the others nothing; so does one who ends what never was."""
    session = await create(store, a_session())
    results = await asyncio.gather(*(store.end(session.key, EndReason.LOGOUT) for _ in range(10)))
    assert sorted(map(bool, results)) == [False] * 9 + [True]
    assert await store.end(names.session_key("never"), EndReason.LOGOUT) is None


async def test_an_id_is_used_once(store: SessionStore) -> None:
    """A second session under a key that is in use is refused, and ends the first as well."""
    session = await create(store, a_session())
    with pytest.raises(LoggedOutError):
        await create(store, a_session(sub="mallory"))
    assert await store.load(session.key) is None


async def test_endings_and_changes_are_published(store: SessionStore, redis: Redis) -> None:
    """Every worker hears of them, with the reason."""
    channel = redis.client.pubsub(ignore_subscribe_messages=True)
    await channel.subscribe(names.CHANNEL)
    session = await create(store, a_session())
    await store.save(session.with_tokens(session.tokens))
    await store.end(session.key, EndReason.REPLACED)
    heard: list[bytes] = []
    while len(heard) < 2:
        message = await channel.get_message(timeout=2)
        if message is not None:
            heard.append(message["data"])
    assert heard == [f"changed {session.key}".encode(), f"ended {session.key} replaced".encode()]
    await channel.aclose()


async def test_a_sid_ends_its_sessions_and_no_other(store: SessionStore) -> None:
    """All browsers of one session at the provider; other sids, users and issuers live on."""
    ended = [await create(store, a_session(name)) for name in ("one", "two")]
    others = [
        await create(store, a_session("three", sid="s2")),
        await create(store, a_session("four", sid=None)),
        await create(store, a_session("five", iss="https://other.example")),
    ]
    found = await store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
    assert {session.key for session in found} == {session.key for session in ended}
    assert [await store.load(session.key) for session in ended] == [None, None]
    assert [await store.load(session.key) for session in others] == others


async def test_a_sub_ends_all_of_a_users_sessions(store: SessionStore, redis: Redis) -> None:
    """With sid and without, more than one batch of them; other users live on."""
    ended = [
        await create(store, a_session(f"alice-{number}", sid=f"s{number}" if number % 2 else None))
        for number in range(70)
    ]
    others = [
        await create(store, a_session("bob", sub="bob", sid="s-bob")),
        await create(store, a_session("other", iss="https://other.example")),
    ]
    found = await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    assert {session.key for session in found} == {session.key for session in ended}
    assert not any([await store.load(session.key) for session in ended])
    assert [await store.load(session.key) for session in others] == others
    assert await members(redis, BY_SUB) == {}
    assert await members(redis, names.group_of_sid(ISSUER, "s1")) == {}
    assert await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL) == []


async def test_unknown_groups_end_nothing(store: SessionStore) -> None:
    """A logout for somebody we do not know is no error."""
    for odd in ("nobody", "aB3 %&#`\n\u20ac", "x" * 10_000, ""):
        assert await store.end_sid(ISSUER, odd, EndReason.BACKCHANNEL) == []
        assert await store.end_sub(ISSUER, odd, 0, EndReason.BACKCHANNEL) == []


async def test_a_sub_is_no_sid(store: SessionStore) -> None:
    """A user whose name is another's sid is not signed out with them."""
    session = await create(store, a_session(sub="s1", sid="alice"))
    await store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
    await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    assert await store.load(session.key) == session


async def logout_before(store: SessionStore, by: str, issued_at: float) -> None:
    """Sign alice out before her login is finished."""
    if by == "sid":
        await store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
    else:
        await store.end_sub(ISSUER, "alice", int(issued_at), EndReason.BACKCHANNEL)


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_logout_that_comes_first_wins(store: SessionStore, redis: Redis, by: str) -> None:
    """A login that was on its way when its session was signed out makes no session."""
    began = await redis_time(redis)
    await logout_before(store, by, NOW)
    for session, issued_at in ((a_session("one"), NOW), (a_session("two"), NOW - 100)):
        with pytest.raises(LoggedOutError):
            await create(store, session, issued_at=issued_at, started_at=began)
        assert await store.load(session.key) is None


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_login_after_the_logout_passes(store: SessionStore, redis: Redis, by: str) -> None:
    """Who begins to sign in again after the logout is signed in, even in the same second."""
    await logout_before(store, by, NOW)
    session = await create(store, a_session(), started_at=await redis_time(redis))
    assert await store.load(session.key) == session


async def test_a_newer_id_token_passes(store: SessionStore) -> None:
    """An ID token that was issued after the logout token belongs to a newer login."""
    await logout_before(store, "sub", NOW)
    session = await create(store, a_session(), issued_at=NOW + 1)
    assert await store.load(session.key) == session
    with pytest.raises(LoggedOutError):
        await create(store, a_session("two"), issued_at=NOW)


async def test_no_id_token_is_newer_than_the_end_of_its_sid(store: SessionStore) -> None:
    """A provider session that ended has no newer logins but those begun after."""
    await logout_before(store, "sid", NOW)
    with pytest.raises(LoggedOutError):
        await create(store, a_session(), issued_at=NOW + 500)


async def test_an_older_logout_does_not_weaken_a_newer_one(store: SessionStore) -> None:
    """Marks of a group only grow."""
    await logout_before(store, "sub", NOW)
    await logout_before(store, "sub", NOW - 100)
    with pytest.raises(LoggedOutError):
        await create(store, a_session(), issued_at=NOW)
    await logout_before(store, "sub", NOW + 100)
    with pytest.raises(LoggedOutError):
        await create(store, a_session("two"), issued_at=NOW + 50)


async def test_a_mark_outlives_every_login_on_its_way(store: SessionStore, redis: Redis) -> None:
    """It stays longer than an ID token of before is accepted, and not for ever."""
    await logout_before(store, "sub", NOW)
    left = await redis.client.ttl(names.logged_out(BY_SUB))
    assert 600 + 2 * 300 - 5 < left <= TOMBSTONE_TTL


async def test_another_users_logout_bars_nobody(store: SessionStore) -> None:
    """A mark speaks of its own group alone."""
    await store.end_sub(ISSUER, "bob", int(NOW), EndReason.BACKCHANNEL)
    await store.end_sid(ISSUER, "s2", EndReason.BACKCHANNEL)
    session = await create(store, a_session())
    assert await store.load(session.key) == session


async def test_records_that_do_not_open_are_no_sessions(
    store: SessionStore, redis: Redis, clock: Clock
) -> None:
    """Changed, moved, or sealed under a secret that is gone: nobody is signed in, nothing fails."""
    one, two = await create(store, a_session("one")), await create(store, a_session("two"))
    found = await redis.get(names.record(one.key))
    assert found is not None
    await redis.put(names.record(two.key), found, 100)
    assert await store.load(two.key) is None
    for bad in (b"", b"x", found[:16], found[:-1], found[:20] + b"\x00" + found[21:]):
        await redis.put(names.record(one.key), bad, 100)
        assert await store.load(one.key) is None
    await redis.put(names.record(one.key), found, 100)
    assert await store.load(one.key) is not None
    other = SessionStore(redis, Sealer(["x" * 32], "session"), Lifetimes(IDLE, ABSOLUTE), clock)
    assert await other.load(one.key) is None
    assert await other.end(one.key, EndReason.LOGOUT) is None
    assert await store.load(one.key) is None


async def test_a_rotated_secret_opens_old_records(
    store: SessionStore, redis: Redis, clock: Clock
) -> None:
    """A store that lists the old secret second reads what it sealed."""
    session = await create(store, a_session())
    sealer = Sealer(["x" * 32, SECRET], "session")
    rotated = SessionStore(redis, sealer, Lifetimes(IDLE, ABSOLUTE), clock)
    assert await rotated.load(session.key) == session


async def test_many_are_loaded_at_once(store: SessionStore) -> None:
    """In the order of the keys, and none where there is none."""
    one, two = await create(store, a_session("one")), await create(store, a_session("two"))
    assert await store.load_many([two.key, "none", one.key]) == [two, None, one]
    assert await store.load_many([]) == []


def calls(store: SessionStore) -> list[Any]:
    """Return one call of every method."""
    session = a_session()
    return [
        store.load(session.key),
        store.reload(session.key),
        store.load_many([session.key]),
        store.create(session, issued_at=NOW, started_at=0),
        store.save(session.with_tokens(session.tokens)),
        store.touch(session),
        store.end(session.key, EndReason.LOGOUT),
        store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL),
        store.end_sub(ISSUER, "alice", 0, EndReason.BACKCHANNEL),
    ]


async def test_without_redis_every_call_says_so_at_once(clock: Clock) -> None:
    """Nobody listens: StoreUnavailableError, and no session is taken for ended."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    watch = Stopwatch()
    results = await asyncio.gather(*calls(make_store(redis, clock)), return_exceptions=True)
    assert watch.seconds() < 1
    assert {type(result) for result in results} == {StoreUnavailableError}
    await redis.aclose()


async def test_a_redis_that_hangs_is_given_up_within_two_seconds(
    store: SessionStore, redis_url: str
) -> None:
    """It pauses: StoreUnavailableError for all; when it goes on, no session is lost."""
    session = await create(store, a_session())
    operator = connect(redis_url)
    await operator.client.client_pause(1800)
    begun, watch = time.monotonic(), Stopwatch()
    results = await asyncio.gather(
        store.load(session.key), store.touch(session), store.load(session.key),
        store.save(session.with_tokens(session.tokens)), return_exceptions=True,
    )  # fmt: skip
    assert watch.seconds() < 2
    assert {type(result) for result in results} == {StoreUnavailableError}
    await asyncio.sleep(max(0.0, 1.9 - (time.monotonic() - begun)))
    found = await store.load(session.key)
    assert found is not None
    assert found.key == session.key
    await operator.aclose()
