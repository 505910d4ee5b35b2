"""Who has which sessions: for their owner, for operators, and for the limit of sessions a user."""

from __future__ import annotations

from bff.sessions import names
from bff.sessions.directory import BATCH, Directory
from bff.sessions.redis import Redis
from bff.sessions.session import Session
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.sessions import ISSUER, a_session


async def made(store: SessionStore, clock: Clock, *sessions: Session) -> list[Session]:
    """Write sessions, a second apart."""
    for session in sessions:
        await store.create(session, issued_at=clock.now, started_at=0)
    return list(sessions)


async def test_a_users_sessions_are_found_newest_first(
    redis: Redis, store: SessionStore, clock: Clock
) -> None:
    """All of them, and of nobody else; ended ones are not among them."""
    now = clock.now
    one, two, three, four = await made(
        store, clock, a_session("one", created_at=now - 5), a_session("two", created_at=now - 1),
        a_session("three", created_at=now - 3, sid=None), a_session("four", created_at=now),
    )  # fmt: skip
    await made(store, clock, a_session("bob", sub="bob"), a_session("x", iss="https://other"))
    await store.end(four.key, EndReason.LOGOUT)
    directory = Directory(redis, store)
    assert await directory.of_user(ISSUER, "alice") == [two, three, one]
    assert await directory.of_user(ISSUER, "nobody") == []


async def test_a_record_that_ran_out_is_passed_over(
    redis: Redis, store: SessionStore, clock: Clock
) -> None:
    """An index entry without a record is no session."""
    one, two = await made(store, clock, a_session("one"), a_session("two"))
    await redis.client.delete(names.record(one.key))
    assert await Directory(redis, store).of_user(ISSUER, "alice") == [two]


async def test_everybody_is_found(redis: Redis, store: SessionStore, clock: Clock) -> None:
    """More than a batch of sessions, of all users, and nothing that is no session."""
    sessions = [a_session(f"n{number}", sub=f"user-{number}") for number in range(BATCH + 20)]
    await made(store, clock, *sessions)
    await redis.put("bff:{x}:login", b"no session", 60)
    found = {session.key async for session in Directory(redis, store).everybody()}
    assert found == {session.key for session in sessions}


async def test_the_oldest_beyond_the_limit_end(
    redis: Redis, store: SessionStore, clock: Clock
) -> None:
    """A new login ends what is too many, never itself, and nobody else's."""
    now = clock.now
    sessions = await made(
        store, clock, *(a_session(f"n{number}", created_at=now + number) for number in range(5))
    )
    other = await made(store, clock, a_session("bob", sub="bob"))
    newest = sessions[4]
    ended = await Directory(redis, store, 3).keep_to_limit(newest)
    assert {session.key for session in ended} == {sessions[0].key, sessions[1].key}
    assert await Directory(redis, store).of_user(ISSUER, "alice") == [
        newest, sessions[3], sessions[2],
    ]  # fmt: skip
    assert await store.load(other[0].key) is not None
    assert await Directory(redis, store, 3).keep_to_limit(newest) == []
    assert len(await Directory(redis, store, 1).keep_to_limit(newest)) == 2
    assert await store.load(newest.key) is not None


async def test_two_logins_at_once_do_not_end_each_other(
    redis: Redis, store: SessionStore, clock: Clock
) -> None:
    """Each sees the other; only the older one ends, whoever looks first."""
    now = clock.now
    for first in (0, 1):
        pair = await made(
            store, clock, *(a_session(f"{first}{n}", created_at=now + n) for n in range(2))
        )
        directory = Directory(redis, store, 1)
        await directory.keep_to_limit(pair[first])
        await directory.keep_to_limit(pair[1 - first])
        assert await directory.of_user(ISSUER, "alice") == [pair[1]]
        await store.end(pair[1].key, EndReason.LOGOUT)


async def test_without_a_limit_nobody_ends(redis: Redis, store: SessionStore, clock: Clock) -> None:
    """Nought is no limit."""
    one, *_ = await made(store, clock, *(a_session(f"n{number}") for number in range(5)))
    assert await Directory(redis, store, 0).keep_to_limit(one) == []
