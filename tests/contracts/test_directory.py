"""Who has which sessions, on every form of Redis."""

from __future__ import annotations

import asyncio
import time

from bff.sessions.store import EndReason
from tests.support.redis_forms import Form
from tests.support.sessions import ISSUER
from tests.support.store_worker import Worker, worker


async def test_a_users_sessions_are_listed(one: Worker, other: Worker) -> None:
    """All that live, the newest first, wherever they were made; nobody else's."""
    now = round(time.time(), 3)
    mine = [await one.sign_in(f"mine-{number}", now=now - number) for number in range(5)]
    await one.sign_in("bob", sub="bob")
    await other.store.end(mine.pop(2).key, EndReason.LOGOUT)
    assert await other.directory.of_user(ISSUER, "alice") == mine
    assert await other.directory.of_user(ISSUER, "nobody") == []


async def test_everybodys_sessions_are_listed(one: Worker, other: Worker) -> None:
    """Over all servers, each once."""
    made = [await one.sign_in(f"session-{number}", sub=f"user-{number}") for number in range(40)]
    found = [session async for session in other.directory.everybody()]
    assert sorted(session.key for session in found) == sorted(session.key for session in made)


async def test_a_listing_takes_nobody_out(one: Worker, other: Worker) -> None:
    """A login that is entered and not yet written is still found by a later logout."""
    group = one.store._groups(await one.sign_in("one"))[0]
    await one.redis.run_in_order([one.store.index.entering([group], "on-its-way", 1000)])
    assert len(await other.directory.of_user(ISSUER, "alice")) == 1
    members = [key async for keys in one.store.index.members(group) for key in keys]
    assert "on-its-way" in members


async def test_the_oldest_gives_way(one: Worker, form: Form) -> None:
    """Who has more sessions than allowed loses the oldest, never the new one."""
    now = round(time.time(), 3)
    sessions = [await one.sign_in(f"s{number}", now=now - 10 + number) for number in range(5)]
    async with worker(form.url, limit=3, listen=False) as limited:
        ended = await limited.directory.keep_to_limit(sessions[-1])
    assert {session.key for session in ended} == {session.key for session in sessions[:2]}
    alive = await asyncio.gather(*(one.store.load(session.key) for session in sessions))
    assert alive == [None, None, *sessions[2:]]
