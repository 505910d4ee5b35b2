"""Ended is final: a logout against a login, a refresh, a use, in every order of their commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from bff.sessions import names
from bff.sessions.redis import Redis
from bff.sessions.session import Session
from bff.sessions.store import EndReason, LoggedOutError
from tests.support.clock import Clock
from tests.support.interleave import Gate, Outcome, every_order
from tests.support.sessions import ISSUER, a_session

from .conftest import make_store

NOW = Clock().now
LOGIN, LOGOUT = 0, 1
Begin = Callable[[], Awaitable[None]]


async def redis_time(redis: Redis) -> float:
    """Return the time by the clock of Redis."""
    seconds, micros = await redis.client.time()
    return float(seconds + micros / 1e6)


class Race:
    """A session, the store, and what two operations do to them."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self.redis = redis
        self.clock = clock
        self.store = make_store(redis, clock)
        self.session = a_session()
        self.began = 0.0

    async def nothing_yet(self) -> None:
        """Begin with an empty Redis, and a login that is on its way."""
        await self.redis.client.flushdb()
        self.began = await redis_time(self.redis)

    async def signed_in(self) -> None:
        """Begin with the session."""
        await self.nothing_yet()
        await self.store.create(self.session, issued_at=NOW, started_at=self.began)

    async def create(self, redis: Redis) -> None:
        """Finish the login."""
        store = make_store(redis, self.clock)
        await store.create(self.session, issued_at=NOW, started_at=self.began)

    async def save(self, redis: Redis) -> bool:
        """Finish a refresh."""
        tokens = replace(self.session.tokens, access_token="access-two")
        return await make_store(redis, self.clock).save(self.session.with_tokens(tokens))

    async def touch(self, redis: Redis) -> Session:
        """Use the session."""
        return await make_store(redis, self.clock).touch(self.session)

    async def end(self, redis: Redis) -> Session | None:
        """Sign out here."""
        return await make_store(redis, self.clock).end(self.session.key, EndReason.LOGOUT)

    async def end_sid(self, redis: Redis) -> list[Session]:
        """Be signed out by `sid`."""
        store = make_store(redis, self.clock)
        return await store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)

    async def end_sub(self, redis: Redis) -> list[Session]:
        """Be signed out by `sub`, by a logout token of the ID token's second."""
        store = make_store(redis, self.clock)
        return await store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)

    async def end_older(self, redis: Redis) -> list[Session]:
        """Be signed out by `sub`, by a logout token that is older than the ID token."""
        store = make_store(redis, self.clock)
        return await store.end_sub(ISSUER, "alice", int(NOW) - 1, EndReason.BACKCHANNEL)

    async def alive(self) -> bool:
        """Whether the session lives."""
        return await self.store.load(self.session.key) is not None


@pytest.fixture
def race(redis: Redis, clock: Clock) -> Race:
    """A race on an empty Redis."""
    return Race(redis, clock)


async def orders(race: Race, begin: Begin, *operations: Callable[[Redis], Awaitable[object]]) -> (
    list[tuple[Outcome, bool]]
):  # fmt: skip
    """Run in every order; return each outcome, and whether the session lives after it."""
    return [
        (outcome, await race.alive())
        async for outcome in every_order(race.redis, begin, operations)
    ]


@pytest.mark.parametrize("by", ["end_sid", "end_sub"])
async def test_no_login_outlives_a_logout_that_meets_it(race: Race, by: str) -> None:
    """Whenever the logout comes, before, during or after: no session remains in any order."""
    found = await orders(race, race.nothing_yet, race.create, getattr(race, by))
    assert len(found) >= 10
    assert {alive for _, alive in found} == {False}
    refused = [outcome for outcome, _ in found if outcome.results[LOGIN] is not None]
    assert 0 < len(refused) < len(found)
    assert {type(outcome.results[LOGIN]) for outcome in refused} == {LoggedOutError}
    for outcome, _ in found:
        if LOGIN not in outcome.order[outcome.order.index(LOGOUT) :]:
            assert outcome.results[LOGIN] is None
            assert [session.key for session in outcome.results[LOGOUT]] == [race.session.key]


async def test_a_newer_login_is_either_whole_or_refused(race: Race) -> None:
    """A login newer than the logout token survives where it is entered after the logout's mark.

    Entered before, it is among those that the logout ends; then its browser is told so, or is
    signed out at once. In no order is a browser told that it is signed in to a session that never
    was.
    """
    found = await orders(race, race.nothing_yet, race.create, race.end_older)
    for outcome, alive in found:
        if outcome.order[0] == LOGOUT:
            assert alive
        refused = isinstance(outcome.results[LOGIN], LoggedOutError)
        ended = bool(outcome.results[LOGOUT])
        assert alive == (not refused and not ended)
    assert {alive for _, alive in found} == {True, False}


@pytest.mark.parametrize("by", ["end", "end_sid", "end_sub"])
@pytest.mark.parametrize("write", ["save", "touch"])
async def test_no_write_brings_an_ended_session_back(race: Race, write: str, by: str) -> None:
    """A refresh or a use that meets a logout: no session remains in any order."""
    found = await orders(race, race.signed_in, getattr(race, write), getattr(race, by))
    assert len(found) >= 2
    assert {alive for _, alive in found} == {False}
    if write == "save":
        assert {outcome.results[LOGIN] for outcome, _ in found} == {True, False}


async def test_a_use_during_a_refresh_loses_nothing(race: Race) -> None:
    """Touch and save in any order: new tokens and the new last use are both there."""
    race.clock.advance(100)
    async for _ in every_order(race.redis, race.signed_in, [race.save, race.touch]):
        session = await race.store.load(race.session.key)
        assert session is not None
        assert session.tokens.access_token == "access-two"
        assert session.last_used_at == race.clock.now


async def test_one_of_two_refreshes_wins(race: Race) -> None:
    """Two saves of one generation in any order: one is written."""
    async for outcome in every_order(race.redis, race.signed_in, [race.save, race.save]):
        assert sorted(outcome.results) == [False, True]


async def test_two_logouts_end_it_once(race: Race) -> None:
    """By sid and by sub at once: the session is reported by one of them only."""
    async for outcome in every_order(race.redis, race.signed_in, [race.end_sid, race.end_sub]):
        assert sum(len(ended) for ended in outcome.results) == 1
        assert not await race.alive()


async def test_two_logins_of_one_user_do_not_disturb_each_other(race: Race, clock: Clock) -> None:
    """Sessions of one sid and sub made at once are both there, and end together."""
    other = a_session("two")

    async def create_other(redis: Redis) -> None:
        store = make_store(redis, clock)
        await store.create(other, issued_at=NOW, started_at=race.began)

    async for outcome in every_order(race.redis, race.nothing_yet, [race.create, create_other]):
        assert outcome.results == [None, None]
        ended = await race.store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
        assert {session.key for session in ended} == {race.session.key, other.key}


@pytest.mark.parametrize("commands", range(5))
async def test_a_login_that_breaks_off_can_still_be_signed_out(race: Race, commands: int) -> None:
    """A worker that dies after any of its commands leaves nothing that a logout does not find."""
    await race.nothing_yet()
    gate = Gate(race.redis)
    task = asyncio.ensure_future(race.create(gate))  # type: ignore[arg-type]  # a stand-in
    for _ in range(commands):
        while not (gate.waiting or task.done()):
            await asyncio.sleep(0)
        if gate.waiting:
            gate.waiting.popleft().set_result(None)
    while not (gate.waiting or task.done()):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await race.store.end_sub(ISSUER, "alice", int(NOW), EndReason.BACKCHANNEL)
    assert not await race.alive()


async def test_a_logout_that_breaks_off_after_its_mark_bars_logins_on_their_way(
    race: Race,
) -> None:
    """A worker that dies between mark and endings errs to signed-out, wherever the login is."""
    group = names.group_of_sub(ISSUER, "alice")

    async def mark(redis: Redis) -> None:
        await make_store(redis, race.clock).index.mark(group, int(NOW))

    found = await orders(race, race.nothing_yet, race.create, mark)
    for outcome, alive in found:
        told = outcome.results[LOGIN] is None
        assert alive == told
        # The login's last two commands read the marks of its two groups; this mark is of the first.
        assert told == (outcome.order[outcome.order.index(LOGOUT) :].count(LOGIN) <= 1)
    assert {alive for _, alive in found} == {True, False}


async def test_the_orders_are_all_tried(redis: Redis) -> None:
    """Two operations of two and three commands have ten orders, each tried once."""

    async def nothing() -> None:
        return None

    def commands(number: int) -> Callable[[Redis], Awaitable[None]]:
        async def operation(gate: Redis) -> None:
            for _ in range(number):
                await gate.get("x")

        return operation

    seen = [
        tuple(outcome.order)
        async for outcome in every_order(redis, nothing, [commands(2), commands(3)])
    ]
    assert len(seen) == len(set(seen)) == 10
