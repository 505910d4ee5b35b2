"""Redis away: known to be away at once, back without a restart, and nothing lost.

What takes waiting is done on all forms at the same time.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import pytest

from bff.errors import StoreUnavailableError
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from tests.support.redis_forms import Form, on_each
from tests.support.stopwatch import Stopwatch
from tests.support.store_worker import Worker, worker
from tests.support.tcp_proxy import tcp_proxy

STALE_FOR = 1.0  # seconds: how long a worker may believe its cache after Redis is gone
TOLD_WITHIN = 2.0
BACK_WITHIN = 60.0


async def goes_and_comes(
    name: str, at: Worker, go: Callable[[], None], come: Callable[[], None]
) -> None:
    """The promise: told that it is away while it is, and all as before when it is back."""
    await at.listening()
    busy = await at.sign_in(secrets.token_hex())
    quiet = await at.sign_in(secrets.token_hex())
    assert await at.store.load(busy.key) == busy.at_hand()
    go()
    try:
        believed = await until_told(at, busy)
        for call in calls(at, quiet):
            watch = Stopwatch()
            with pytest.raises(StoreUnavailableError):
                await call
            assert watch.seconds() < TOLD_WITHIN
        assert not at.signals.proven
        assert len(at.cache) == 0
    finally:
        come()
    back = time.monotonic()
    while True:
        try:
            assert await at.store.load(quiet.key) == quiet.at_hand()
            break
        except StoreUnavailableError:
            assert time.monotonic() - back < BACK_WITHIN
    took = time.monotonic() - back
    print(f"{name}: believed for {believed:.2f} s, back after {took:.2f} s")
    assert await retried(lambda: at.store.load(busy.key)) == busy.at_hand()
    await at.listening(BACK_WITHIN)
    assert await at.store.load(busy.key) == busy.at_hand()
    assert await at.store.end(busy.key, EndReason.LOGOUT) == busy
    assert await at.store.load(busy.key) is None


async def until_told(at: Worker, busy: Session) -> float:
    """Use a session until we are told that Redis is away; return for how long it was believed."""
    gone, served = Stopwatch(), time.monotonic()
    while True:
        asked, watch = time.monotonic(), Stopwatch()
        try:
            assert await at.store.load(busy.key) == busy.at_hand()
            served = asked
        except StoreUnavailableError:
            assert watch.seconds() < TOLD_WITHIN
            assert gone.seconds(served) < STALE_FOR
            return gone.seconds(served)
        await asyncio.sleep(0.005)


def calls(at: Worker, session: Session) -> list[Awaitable[object]]:
    """Return a read, writes, and what readiness asks."""
    return [
        at.store.load(session.key),
        at.redis.ping(),
        at.store.save(session.with_tokens(session.tokens)),
    ]


async def retried(call: Callable[[], Awaitable[Session | None]]) -> Session | None:
    """Call again for as long as Redis is only half back."""
    deadline = time.monotonic() + BACK_WITHIN
    while True:
        try:
            return await call()
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_frozen(forms: dict[str, Form]) -> None:
    """SIGSTOP for every process of a form, then SIGCONT: no restart, no session lost."""

    async def promise(form: Form) -> None:
        async with worker(form.url) as at:
            await goes_and_comes(form.name, at, form.freeze, form.thaw)

    await on_each(forms.values(), promise)


async def test_cut_off(forms: dict[str, Form]) -> None:
    """Nothing passes on any connection, old or new, and none is closed; then all pass again."""

    async def promise(form: Form) -> None:
        async with tcp_proxy(form.servers[0].port) as proxy:
            assert form.proxied is not None
            async with worker(form.proxied(proxy.port)) as at:
                await goes_and_comes(form.name, at, proxy.cut, proxy.mend)

    await on_each([form for form in forms.values() if form.proxied is not None], promise)


async def test_nobody_serves_what_was_ended_while_it_was_cut_off(forms: dict[str, Form]) -> None:
    """A worker that did not hear of an ending believes its cache for a second at most."""

    async def promise(form: Form) -> None:
        async with tcp_proxy(form.servers[0].port) as proxy:
            assert form.proxied is not None
            async with worker(form.proxied(proxy.port)) as cut_off, worker(form.url) as other:
                await cut_off.listening()
                session = await other.sign_in(secrets.token_hex())
                assert await cut_off.store.load(session.key) == session.at_hand()
                proxy.cut()
                await other.store.end(session.key, EndReason.LOGOUT)
                watch = Stopwatch()
                while True:
                    try:
                        if await cut_off.store.load(session.key) is None:
                            break
                    except StoreUnavailableError:
                        break
                    assert watch.seconds() < STALE_FOR
                    await asyncio.sleep(0.005)
                proxy.mend()
                assert await retried(lambda: cut_off.store.load(session.key)) is None

    await on_each([form for form in forms.values() if form.proxied is not None], promise)
