"""All times to live are those of Redis: nothing needs a clean-up job, on any form."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from bff.sessions import index, lease, logins, names, store
from bff.sessions.lease import Lease
from bff.sessions.store import EndReason, Lifetimes
from bff.web.rate_limit import LoginRateLimit
from tests.support.redis_forms import Form, on_each
from tests.support.sessions import ISSUER, a_login
from tests.support.store_worker import Worker, empty, keys_of, worker

SHORT = Lifetimes(idle=1.0, absolute=2.0)


async def test_everything_goes_by_itself(
    forms: dict[str, Form], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After sessions, logins, logouts and refresh leases, and their times, Redis is empty."""
    monkeypatch.setattr(store, "TOMBSTONE_TTL", 2)
    monkeypatch.setattr(lease, "SECONDS", 1)
    for module, name in (
        (index, "MARK_TTL"), (index, "MARGIN"), (logins, "LOGIN_TTL"), (logins, "SIGN_OUT_TTL"),
        (logins, "LOGOUT_STATE_TTL"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)

    async def promise(form: Form) -> None:
        async with worker(form.url, lifetimes=SHORT, listen=False) as at:
            await empty(at.redis)
            await live_a_little(at)
            found = await keys_of(at.redis)
            assert len(found) > 20
            assert min(found.values()) > 0
            async with asyncio.timeout(max(found.values()) / 1000 + 1):
                while found := await keys_of(at.redis):
                    await asyncio.sleep(0.1)

    await on_each(forms.values(), promise)


async def live_a_little(at: Worker) -> None:
    """Do everything that writes to Redis."""
    ends_at = time.time() + SHORT.absolute
    sessions = [
        await at.sign_in(secrets.token_hex(), ends_at=ends_at, sid=f"s{number}")
        for number in range(6)
    ]
    await at.store.touch(sessions[0])
    await at.store.save(sessions[1].with_tokens(sessions[1].tokens))
    await at.store.end(sessions[2].key, EndReason.LOGOUT)
    await at.store.end_sid(ISSUER, "s3", EndReason.BACKCHANNEL)
    await at.store.end_sub(ISSUER, "alice", 0, EndReason.BACKCHANNEL)
    for number in range(2):
        await at.sign_in(secrets.token_hex(), ends_at=ends_at, sid=f"s{number}")
    await at.logins.keep("browser", "state", a_login())
    await at.logins.keep_sign_out("handle", "https://provider.example/")
    await at.logins.keep_logout_state("state")
    await at.logins.latest_session("browser", "key")
    await at.logins.note_seen(ISSUER, "jti", 1)
    assert await Lease(at.redis, "k").take()
    await LoginRateLimit(at.redis, "5/second").check("192.0.2.1")


async def test_an_index_goes_with_its_sessions(
    forms: dict[str, Form], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of idle sessions go though the group lives on; those in use stay and are found."""
    monkeypatch.setattr(index, "MARGIN", 0.3)
    group = names.group_of_sub(ISSUER, "alice")

    async def promise(form: Form) -> None:
        async with worker(form.url, lifetimes=Lifetimes(1.0, 60), listen=False) as at:
            await empty(at.redis)
            used, *idle = [await at.sign_in(secrets.token_hex()) for _ in range(8)]
            end = time.monotonic() + 3.0
            while time.monotonic() < end:
                used = await at.store.touch(used)
                await asyncio.sleep(0.2)
            newer = await at.sign_in(secrets.token_hex())
            members = [key async for keys in at.store.index.members(group) for key in keys]
            assert sorted(members) == sorted([used.key, newer.key])
            assert not any(await at.store.load_many([session.key for session in idle]))
            ended = await at.store.end_sub(ISSUER, "alice", int(time.time()), EndReason.LOGOUT)
            assert {session.key for session in ended} == {used.key, newer.key}

    await on_each(forms.values(), promise)
