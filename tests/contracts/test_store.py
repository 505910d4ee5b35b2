"""What the session store promises, on every form of Redis, between two workers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from bff.sessions import names
from bff.sessions.index import EXTEND_EVERY, MARGIN
from bff.sessions.session import Session
from bff.sessions.store import TOMBSTONE_TTL, EndReason, LoggedOutError
from tests.support.redis_forms import Form
from tests.support.sessions import ISSUER, a_login, a_session
from tests.support.store_worker import LIFETIMES, Worker, keys_of


async def test_what_one_worker_makes_another_loads(one: Worker, other: Worker) -> None:
    """Whole, and last used when it was; an unknown key is none."""
    session = await one.sign_in("one")
    assert await other.store.load(session.key) == session
    assert await other.store.load(names.session_key("unknown")) is None


async def test_one_save_of_a_generation_wins(one: Worker, other: Worker) -> None:
    """Compare and set: the second is told so, and changes nothing."""
    session = await one.sign_in("one")
    next_ones = [
        session.with_tokens(replace(session.tokens, access_token=name)) for name in ("a", "b")
    ]
    saved = await asyncio.gather(one.store.save(next_ones[0]), other.store.save(next_ones[1]))
    assert sorted(saved) == [False, True]
    winner = next_ones[saved.index(True)]
    assert await one.store.load(session.key) == await other.store.load(session.key) == winner


async def test_a_use_puts_off_the_idle_end(one: Worker, other: Worker) -> None:
    """The record lives its idle time-out from then on; new tokens do not."""
    session = await one.sign_in("one", now=time.time() - 1000)
    record = names.record(session.key)
    assert (await keys_of(one.redis))[record] < 801_000
    used = await one.store.touch(session)
    assert used.last_used_at == pytest.approx(time.time(), abs=1)
    found = await other.store.load(session.key)
    assert found is not None
    assert found.last_used_at == pytest.approx(used.last_used_at, abs=0.002)
    assert (await keys_of(one.redis))[record] == pytest.approx(1_800_000, abs=2000)


async def test_ended_is_final(one: Worker, other: Worker) -> None:
    """Record and index entries go, a tombstone stays, and no write brings the session back."""
    session = await one.sign_in("one")
    ended = await asyncio.gather(
        *(side.store.end(session.key, EndReason.LOGOUT) for side in (one, other) * 3)
    )
    assert [found for found in ended if found is not None] == [session]
    assert set(await keys_of(one.redis)) == {names.tombstone(session.key)}
    assert not await other.store.save(session.with_tokens(session.tokens))
    await other.store.touch(session)
    with pytest.raises(LoggedOutError):
        await other.store.create(session, issued_at=time.time(), started_at=0)
    assert await one.store.load(session.key) is None
    assert names.record(session.key) not in await keys_of(one.redis)


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_logout_ends_all_of_a_group(one: Worker, other: Worker, by: str) -> None:
    """Whichever worker made them; other users and other sessions at the provider live on."""
    mine = [
        await (one, other)[number % 2].sign_in(f"mine-{number}", sid="s1" if by == "sid" else None)
        for number in range(20)
    ]
    others = [
        await one.sign_in("bob", sub="bob", sid="s2"),
        await one.sign_in("elsewhere", iss="https://other.example"),
    ]
    ended = await log_out(other, by)
    assert {session.key for session in ended} == {session.key for session in mine}
    assert await one.store.load_many([session.key for session in mine]) == [None] * len(mine)
    assert await one.store.load_many([session.key for session in others]) == others
    assert await log_out(one, by) == []


async def log_out(worker: Worker, by: str, issued_at: float | None = None) -> list[Session]:
    """Sign alice out, or her session `s1` at the provider."""
    if by == "sid":
        return await worker.store.end_sid(ISSUER, "s1", EndReason.BACKCHANNEL)
    at = int(time.time() if issued_at is None else issued_at)
    return await worker.store.end_sub(ISSUER, "alice", at, EndReason.BACKCHANNEL)


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_logout_bars_the_login_on_its_way(one: Worker, other: Worker, by: str) -> None:
    """A login that began before it makes no session; one that begins afterwards does."""
    now = int(time.time())
    await one.logins.keep("browser", "state", a_login())
    before = await one.logins.take("browser", "state")
    await log_out(other, by)
    await one.logins.keep("browser", "state", a_login())
    after = await one.logins.take("browser", "state")
    assert before is not None
    assert after is not None
    for number, login in enumerate((before, after)):
        session = a_session(f"login-{number}", now)
        creating = one.store.create(session, issued_at=now, started_at=login.started_at)
        if login is before:
            with pytest.raises(LoggedOutError):
                await creating
        else:
            await creating
        assert (await other.store.load(session.key) is None) == (login is before)


async def test_an_index_has_its_group_and_every_key_goes_by_itself(
    one: Worker, other: Worker
) -> None:
    """Entries outlive their records by a little; nothing that there is stays for ever."""
    sessions = [await one.sign_in(f"session-{number}") for number in range(3)]
    gone = await other.sign_in("gone")
    await one.store.end(gone.key, EndReason.LOGOUT)
    await log_out(other, "sub", issued_at=0)  # too old for anybody's sessions but those there
    more = [await one.sign_in(f"more-{number}") for number in range(2)]
    for group in (names.group_of_sub(ISSUER, "alice"), names.group_of_sid(ISSUER, "s1")):
        members = [key async for keys in other.store.index.members(group) for key in keys]
        assert sorted(members) == sorted(session.key for session in more)
    await one.logins.keep("browser", "state", a_login())
    await one.logins.keep_sign_out("handle", "https://provider.example/")
    await one.logins.keep_logout_state("state")
    await one.logins.latest_session("browser", "key")
    await one.logins.note_seen(ISSUER, "jti", 60)
    found = await keys_of(one.redis)
    longest = max(LIFETIMES.idle + EXTEND_EVERY + MARGIN, TOMBSTONE_TTL)
    assert {name: ttl for name, ttl in found.items() if not 0 < ttl <= longest * 1000} == {}
    for session in sessions:
        assert names.record(session.key) not in found
    for session in more:
        index = found[names.index(names.group_of_sid(ISSUER, "s1"))]
        assert index > found[names.record(session.key)] + MARGIN * 1000


async def test_nothing_is_in_redis_in_clear(one: Worker) -> None:
    """No token, claim, subject, `sid`, issuer or session id, in no key and no value."""
    session = await one.sign_in("the-session-id")
    await one.logins.keep("browser-cookie", "the-state", a_login())
    everything = "".join(await keys_of(one.redis)).encode()
    for client in await one.redis._nodes.clients():
        async for name in client.scan_iter("*"):
            if name.endswith(b":index"):
                everything += b"".join(await client.zrange(name, 0, -1))
            else:
                everything += await client.get(name)
    for secret in (
        session.tokens.access_token, session.tokens.refresh_token or "", session.tokens.id_token,
        "alice", "Alice", "the-session-id", ISSUER, "192.0.2.7", "Firefox", "browser-cookie",
        "the-state", "a-nonce", "a-verifier",
    ):  # fmt: skip
        assert secret.encode() not in everything


async def test_reads_of_one_turn_go_together(one: Worker, other: Worker, form: Form) -> None:
    """Each gets its own session, or none; a server is asked once for all of them."""
    sessions = [await one.sign_in(f"session-{number}", sid=None) for number in range(50)]
    keys = [session.key for session in sessions]
    missing = [names.session_key(f"missing-{number}") for number in range(50)]
    await other.store.load(keys[0])
    asked = {"cluster": b"cmdstat_get", "user": None}.get(form.name, b"cmdstat_mget")
    before = await calls(other, asked)
    wanted = [key for pair in zip(keys, missing, strict=True) for key in pair]
    found = await asyncio.gather(*(other.store.load(key) for key in wanted * 2))
    assert found[0 : len(wanted) : 2] == found[len(wanted) :: 2] == sessions
    assert not any(found[1::2])
    if asked is not None:
        assert await calls(other, asked) - before == (100 if form.name == "cluster" else 1)


async def calls(worker: Worker, command: bytes | None) -> int:
    """Return how often a command was called, on all servers."""
    if command is None:
        return 0
    total = 0
    for client in await worker.redis._nodes.clients():
        stats = await client.info("commandstats")
        total += stats.get(command.decode(), {"calls": 0})["calls"]
    return total
