"""Every worker knows: an ending on one is heard by another at once, on every form of Redis."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bff.sessions.store import EndReason
from tests.support.redis_forms import Form, on_each
from tests.support.sessions import ISSUER
from tests.support.stopwatch import Stopwatch
from tests.support.store_worker import Worker, worker
from tests.support.watching import ending

AT_ONCE = 0.1  # seconds


@pytest.fixture
async def listener(one: Worker, form: Form) -> AsyncIterator[Worker]:
    """Another worker, whose cache is on."""
    async with worker(form.url) as opened:
        await opened.listening()
        yield opened


async def test_an_ended_session_is_served_nowhere(one: Worker, listener: Worker) -> None:
    """Within 100 ms of its ending on one worker, a worker that had it in its cache has it no more.

    By key, by `sid` and by `sub`; and whoever watches it is told why.
    """
    took: list[float] = []
    for number in range(12):
        session = await one.sign_in(f"session-{number}")
        assert await listener.store.load(session.key) == session.at_hand()
        assert listener.cache.get(session.key) == session.at_hand()
        with ending(listener.live, session.key) as ended:
            watch = Stopwatch()
            if number % 3 == 0:
                await one.store.end(session.key, EndReason.LOGOUT)
            elif number % 3 == 1:
                await one.store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
            else:
                now = int(time.time())
                await one.store.end_sub(ISSUER, "alice", now, EndReason.BACKCHANNEL)
            while await listener.store.load(session.key) is not None:
                await asyncio.sleep(0.0005)
            took.append(watch.seconds())
            async with asyncio.timeout(10):
                await ended.wait()
    print(f"ended to unknown elsewhere: median {statistics.median(took) * 1000:.1f} ms,"
          f" longest {max(took) * 1000:.1f} ms")  # fmt: skip
    assert statistics.median(took) < AT_ONCE


async def test_new_tokens_are_known_elsewhere(one: Worker, listener: Worker) -> None:
    """A refresh on one worker takes the old tokens out of another's cache."""
    session = await one.sign_in("one")
    for number in range(5):
        assert await listener.store.load(session.key) == session.at_hand()
        tokens = replace(session.tokens, access_token=f"access-{number}")
        session = session.with_tokens(tokens)
        assert await one.store.save(session)
        async with asyncio.timeout(10):
            while await listener.store.load(session.key) != session.at_hand():
                await asyncio.sleep(0.001)


async def test_the_channel_is_proven_again_and_again(forms: dict[str, Form]) -> None:
    """While Redis answers, the cache is on: a busy session costs no command, in a Cluster few."""

    async def promise(form: Form) -> None:
        async with worker(form.url) as at:
            await at.listening()
            session = await at.sign_in(secrets.token_hex())
            await at.store.load(session.key)
            known, kept = session.at_hand(), list[bool]()
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                kept.append(at.signals.proven and at.cache.get(session.key) == known)
                await asyncio.sleep(0.01)
            # Not all: the machine may hold us up for longer than a proof lasts.
            assert sum(kept) > 0.8 * len(kept)

    await on_each(forms.values(), promise)


async def test_what_was_read_while_nobody_listened_is_not_kept(forms: dict[str, Form]) -> None:
    """A read that began before the channel was open again may be older than an ending."""
    async with worker(forms["tcp"].url) as at:
        await at.listening()
        session = await at.sign_in("read-meanwhile")
        assert await at.store.load(session.key) == session.at_hand()
        await at.redis.client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(10):
            while len(at.cache):
                await asyncio.sleep(0.001)
        reading = at.cache.begin(session.key)
        await at.listening()
        at.cache.finish(reading, session, 1000)
        assert at.cache.get(session.key) is None
        assert await at.store.load(session.key) == session.at_hand()
        assert at.cache.get(session.key) == session.at_hand()
