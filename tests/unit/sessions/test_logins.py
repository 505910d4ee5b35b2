"""Logins in progress: each found by its own browser alone, and taken once."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace

import pytest

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.logins import LOGIN_TTL, LOGOUT_STATE_TTL, SIGN_OUT_TTL, Login, Logins
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from tests.support.processes import free_port

SECRET = "a secret for tests, long enough..."
LOGIN = Login(
    iss="https://login.example.com/", nonce="the-nonce", code_verifier="the-verifier",
    return_to="/orders?page=2#\u00e9", max_age=0, acr_values="gold", replaces="old-key",
    proof_key="k" * 43,
)  # fmt: skip


@pytest.fixture
def logins(redis: Redis) -> Logins:
    """The logins under test."""
    return Logins(redis, Sealer([SECRET], "login"))


async def redis_time(redis: Redis) -> float:
    """Return the time by the clock of Redis."""
    seconds, micros = await redis.client.time()
    return float(seconds + micros / 1e6)


async def test_a_login_is_taken_once(logins: Logins, redis: Redis) -> None:
    """It comes back as it was, with the time at which it was kept; then it is gone."""
    before = await redis_time(redis)
    await logins.keep("browser", "state", LOGIN)
    after = await redis_time(redis)
    found = await logins.take("browser", "state")
    assert found is not None
    assert before <= found.started_at <= after
    assert replace(found, started_at=0) == LOGIN
    assert await logins.take("browser", "state") is None


async def test_what_must_come_back_is_remembered(logins: Logins) -> None:
    """Also what is seldom asked; and a login without it is kept as it always was."""
    asked = replace(LOGIN, essential=("acr", "auth_time"), sub="alice", silent=True, max_age=None)
    await logins.keep("browser", "state", asked)
    found = await logins.take("browser", "state")
    assert found is not None
    assert replace(found, started_at=0) == asked
    assert not {"essential", "sub", "silent"} & set(json.loads(LOGIN.dump()))


async def test_only_one_of_many_takes_it(logins: Logins) -> None:
    """A code cannot be redeemed twice, however fast."""
    await logins.keep("browser", "state", LOGIN)
    found = await asyncio.gather(*(logins.take("browser", "state") for _ in range(30)))
    assert sum(login is not None for login in found) == 1


async def test_another_browser_neither_finds_it_nor_uses_it_up(logins: Logins) -> None:
    """Who learnt the state but is not the browser gets nothing, and the login is still there."""
    await logins.keep("browser", "state", LOGIN)
    for browser, state in (("other", "state"), ("browser", "other"), ("", "state"),
                           ("browserstate", ""), ("state", "browser")):  # fmt: skip
        assert await logins.take(browser, state) is None
    assert await logins.take("browser", "state") is not None


async def test_several_tabs_sign_in_at_once(logins: Logins) -> None:
    """One browser may have many logins in progress, each by its state."""
    for number in range(5):
        await logins.keep("browser", f"state-{number}", replace(LOGIN, return_to=f"/{number}"))
    for number in (3, 0, 4, 1, 2):
        found = await logins.take("browser", f"state-{number}")
        assert found is not None
        assert found.return_to == f"/{number}"


async def test_nothing_is_in_redis_in_clear(logins: Logins, redis: Redis) -> None:
    """No nonce, verifier, state, cookie value or sign-out address can be read there."""
    await logins.keep("the-browser", "the-state", LOGIN)
    await logins.keep_sign_out("the-handle", "https://login.example.com/?id_token_hint=the-token")
    await logins.keep_logout_state("the-logout-state")
    await logins.note_seen("https://login.example.com/", "the-jti", 60)
    await logins.latest_session("the-browser", names.session_key("the-session"))
    everything = b""
    for name in await redis.client.keys("*"):
        everything += name + await redis.client.get(name)
    for secret in (b"the-", b"login.example", b"orders", b"gold", b"id_token"):
        assert secret not in everything


async def test_times_to_live(logins: Logins, redis: Redis) -> None:
    """Ten minutes for a login, one for a sign-out address, ten for its state."""
    await logins.keep("b", "s", LOGIN)
    await logins.keep_sign_out("h", "u")
    await logins.keep_logout_state("s")
    await logins.note_seen("i", "j", 33.3)
    for name, seconds in (
        (names.login("b", "s"), LOGIN_TTL),
        (names.once("sign-out", "h"), SIGN_OUT_TTL),
        (names.once("logout-state", "s"), LOGOUT_STATE_TTL),
        (names.once("jti", "i", "j"), 33.3),
    ):
        assert seconds - 3 < await redis.client.pttl(name) / 1000 <= seconds


async def test_a_login_that_does_not_open_is_none(logins: Logins, redis: Redis) -> None:
    """Sealed under a secret that is gone, moved or changed: there is no login."""
    await logins.keep("browser", "state", LOGIN)
    stranger = Logins(redis, Sealer(["x" * 32], "login"))
    assert await stranger.take("browser", "state") is None
    await logins.keep("browser", "state", LOGIN)
    found = await redis.get(names.login("browser", "state"))
    assert found is not None
    await redis.put(names.login("browser", "other"), found, 60)
    assert await logins.take("browser", "other") is None
    for bad in (found[:-1], b"5.0 " + os.urandom(80), b"5.0 "):
        await redis.put(names.login("browser", "state"), bad, 60)
        assert await logins.take("browser", "state") is None


async def test_a_sign_out_address_is_taken_once(logins: Logins) -> None:
    """The address with the ID token as a hint is given out once, to who has its handle."""
    await logins.keep_sign_out("handle", "https://login.example.com/logout?x=\u00e9")
    assert await logins.take_sign_out("other") is None
    assert await logins.take_sign_out("handle") == "https://login.example.com/logout?x=\u00e9"
    assert await logins.take_sign_out("handle") is None


async def test_a_logout_state_comes_back_once(logins: Logins) -> None:
    """A state that was not ours, or came before, is told."""
    await logins.keep_logout_state("state")
    assert not await logins.take_logout_state("state_INVALID")
    assert await logins.take_logout_state("state")
    assert not await logins.take_logout_state("state")


async def test_a_logout_token_is_acted_on_once(logins: Logins) -> None:
    """By issuer and jti, until it would have expired."""
    assert not await logins.seen("issuer", "jti")
    await logins.note_seen("issuer", "jti", 60)
    assert await logins.seen("issuer", "jti")
    assert not await logins.seen("issuer", "other")
    assert not await logins.seen("other", "jti")
    await logins.note_seen("issuer", "short", 0.001)
    await asyncio.sleep(0.05)
    assert not await logins.seen("issuer", "short")


async def test_the_session_of_another_tab_is_known(logins: Logins) -> None:
    """Each new session of a browser learns of the one before."""
    assert await logins.latest_session("browser", "one") is None
    assert await logins.latest_session("other", "two") is None
    assert await logins.latest_session("browser", "three") == "one"
    assert await logins.latest_session("browser", "four") == "three"


async def test_without_redis_every_call_says_so() -> None:
    """No login is taken for unknown because nobody could be asked."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    logins = Logins(redis, Sealer([SECRET], "login"))
    for call in (
        logins.keep("b", "s", LOGIN), logins.take("b", "s"), logins.keep_sign_out("h", "u"),
        logins.take_sign_out("h"), logins.keep_logout_state("s"), logins.take_logout_state("s"),
        logins.seen("i", "j"), logins.note_seen("i", "j", 1), logins.latest_session("b", "k"),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailableError):
            await call
    await redis.aclose()
