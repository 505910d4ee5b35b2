"""A user with 10,000 sessions: all of them end, and Redis serves others meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from bff.sessions import names
from bff.sessions.redis_link import Command
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from tests.support.redis_forms import Form
from tests.support.sessions import ISSUER, a_session
from tests.support.store_worker import Worker, empty, worker

MANY = 10_000


async def sign_in_often(at: Worker, number: int) -> list[Session]:
    """Write many sessions of one user, as so many logins would have left them."""
    now = round(time.time(), 3)
    sessions = [a_session(f"session-{n}", now=now, sid=None) for n in range(number)]
    index = names.index(names.group_of_sub(ISSUER, "alice"))
    nodes = at.redis._nodes
    for start in range(0, number, 500):
        part = sessions[start : start + 500]
        records = {names.record(one.key): at.store._record(one) for one in part}
        await nodes.call_all([(name, put(name, value)) for name, value in records.items()])
        await nodes.call(index, enter(index, [one.key for one in part], now + 2000))
    return sessions


def put(name: str, value: bytes) -> Command:
    """Return a command that sets a key."""
    return ("SET", name, value, "EX", 1800)


def enter(index: str, keys: list[str], until: float) -> Command:
    """Return a command that enters keys into an index."""
    entries = [part for key in keys for part in (str(until), key)]
    return ("ZADD", index, *entries)


@pytest.mark.parametrize("name", ["tcp", "cluster"])
async def test_ten_thousand_sessions_end(forms: dict[str, Form], name: str) -> None:
    """By one logout; no command of it takes long, and others are answered between its slices."""
    async with (
        worker(forms[name].url, listen=False) as at,
        worker(forms[name].url, listen=False) as other,
    ):
        await empty(at.redis)
        sessions = await sign_in_often(at, MANY)
        bob = await other.sign_in("bob", sub="bob")
        for client in await at.redis._nodes.clients():
            await client.config_set("slowlog-log-slower-than", 500)
            await client.slowlog_reset()
        waits: list[float] = []

        async def use() -> None:
            while True:
                began = time.perf_counter()
                assert await other.store.reload(bob.key) == bob
                waits.append(time.perf_counter() - began)
                await asyncio.sleep(0.002)

        using = asyncio.create_task(use())
        began = time.perf_counter()
        ended = await at.store.end_sub(ISSUER, "alice", int(time.time()), EndReason.BACKCHANNEL)
        took = time.perf_counter() - began
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)
        slow = [
            entry["duration"]
            for client in await at.redis._nodes.clients()
            for entry in await client.slowlog_get(128)
        ]
        print(
            f"{name}: {len(ended)} sessions ended in {took:.2f} s; {len(slow)} commands over 0.5 ms"
            f" in Redis, longest {max(slow, default=0) / 1000:.2f} ms; another user's reads"
            f" meanwhile: {len(waits)}, longest {max(waits) * 1000:.0f} ms"
        )
        assert {session.key for session in ended} == {session.key for session in sessions}
        for start in range(0, MANY, 500):
            part = [session.key for session in sessions[start : start + 500]]
            assert not any(await at.store.load_many(part))
        assert await at.store.reload(bob.key) == bob
        for client in await at.redis._nodes.clients():
            await client.config_set("slowlog-log-slower-than", 10_000)
        await empty(at.redis)
