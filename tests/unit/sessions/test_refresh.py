"""A fresh access token, once for all who ask; and what a provider may say instead."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.oidc.provider import Provider
from bff.sessions import lease, names, refresh
from bff.sessions.live import LiveSessions
from bff.sessions.redis import Redis, connect
from bff.sessions.refresh import Refresher
from bff.sessions.session import Session
from bff.sessions.signals import Signals
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.jose import at_hash, forge, id_claims, rsa, sign
from tests.support.our_side import provider_of
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.sessions import a_session
from tests.support.stopwatch import Stopwatch

from .conftest import MakeWorker, Worker, make_store

LIFE = 300
USED = "session.refreshed"


@pytest.fixture
def clock() -> Clock:
    """The clock of stores and refreshers, which starts at the real time, as tokens do."""
    return Clock(float(int(time.time())))


@pytest.fixture
async def session(worker: Worker, scripted: ScriptedProvider, clock: Clock) -> Session:
    """A session in Redis whose access token is about to end; later it will have expired."""
    found = a_session(now=clock.now, iss=scripted.issuer, expires_at=clock.now + LIFE)
    await worker.store.create(found, issued_at=clock.now, started_at=0)
    clock.advance(LIFE - 10)
    return found


def granted(**changes: object) -> Answer:
    """Return an answer with new tokens; None takes a member away."""
    members = {
        "access_token": "access-two", "token_type": "Bearer", "expires_in": LIFE,
        "refresh_token": "refresh-two", **changes,
    }  # fmt: skip
    return Answer(body={k: v for k, v in members.items() if v is not None})


def rotating(scripted: ScriptedProvider, pause: float = 0.05) -> list[str]:
    """Let the provider rotate refresh tokens and refuse one that comes twice; note what came."""
    came: list[str] = []

    async def answer(asked: Asked) -> Answer:
        token = asked.form["refresh_token"]
        came.append(token)
        await asyncio.sleep(pause)
        if came.count(token) > 1:
            return Answer(400, {"error": "invalid_grant"})
        number = len(came) + 1
        return granted(access_token=f"access-{number}", refresh_token=f"refresh-{number}")

    scripted.answers["/token"] = answer
    return came


async def test_a_token_with_time_left_is_used(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Nobody is asked before the token is due."""
    clock.advance(-200)
    assert await worker.refresher.fresh(session) is session
    assert scripted.asked == []


async def test_a_due_token_is_refreshed(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """New tokens come back and are in Redis; times count from now."""
    scripted.answers["/token"] = granted(scope="openid new")
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert fresh.tokens.access_token == "access-two"
    assert fresh.tokens.refresh_token == "refresh-two"
    assert fresh.tokens.expires_at == clock.now + LIFE
    assert fresh.tokens.scope == {"openid", "new"}
    assert fresh.tokens.id_token == session.tokens.id_token
    assert fresh.generation == session.generation + 1
    assert await worker.store.reload(session.key) == fresh
    assert scripted.last("/token").form["refresh_token"] == "refresh-one"


async def test_what_is_not_said_stays_as_it_was(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """Without a new refresh token, scope or lifetime: the old ones, and none."""
    scripted.answers["/token"] = granted(refresh_token=None, expires_in=None)
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert fresh.tokens.refresh_token == "refresh-one"
    assert fresh.tokens.scope == session.tokens.scope
    assert fresh.tokens.expires_at is None


async def test_a_hundred_callers_make_one_request(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """All who ask at once share one refresh and its result."""
    came = rotating(scripted)
    callers = [asyncio.create_task(worker.refresher.fresh(session)) for _ in range(100)]
    await asyncio.sleep(0.02)
    assert [task.get_name() for task in asyncio.all_tasks()].count("refresh") == 1
    found = await asyncio.gather(*callers)
    assert came == ["refresh-one"]
    assert {fresh.tokens.access_token for fresh in found if fresh} == {"access-2"}
    assert None not in found


async def test_several_workers_make_one_request(
    make_worker: MakeWorker, session: Session, scripted: ScriptedProvider
) -> None:
    """Workers that share nothing but Redis refresh once, and all get the new token."""
    came = rotating(scripted)
    workers = [await make_worker() for _ in range(4)]
    found = await asyncio.gather(
        *(worker.refresher.fresh(session) for worker in workers for _ in range(25))
    )
    assert came == ["refresh-one"]
    assert {fresh.tokens.access_token for fresh in found if fresh} == {"access-2"}
    assert None not in found


async def test_every_expiry_is_one_request(
    make_worker: MakeWorker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Over several lifetimes, two workers in turn or at once use each refresh token once."""
    came = rotating(scripted, pause=0.0)
    workers = [await make_worker(), await make_worker()]
    current: Session | None = session
    for _ in range(5):
        assert current is not None
        found = await asyncio.gather(*(worker.refresher.fresh(current) for worker in workers))
        assert found[0] == found[1]
        current = found[0]
        clock.advance(LIFE - 10)
    assert came == ["refresh-one", *(f"refresh-{number}" for number in range(2, 6))]


async def test_who_comes_late_finds_it_done(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """A worker that read the record before the refresh gets the new tokens, and asks nobody."""
    came = rotating(scripted)
    first = await worker.refresher.fresh(session)
    assert await worker.refresher.fresh(session) == first
    assert len(came) == 1


async def test_a_refresh_can_be_forced(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Whatever time is left, new tokens are fetched."""
    rotating(scripted)
    clock.advance(-200)
    fresh = await worker.refresher.fresh(session, force=True)
    assert fresh is not None
    assert fresh.tokens.access_token == "access-2"


@pytest.mark.parametrize("force", [False, True])
async def test_without_a_refresh_token_the_old_token_serves_out_its_time(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock, *, force: bool
) -> None:
    """Then the session has no usable token any more."""
    session = replace(session, tokens=replace(session.tokens, refresh_token=None))
    assert await worker.refresher.fresh(session, force=force) is session
    clock.advance(10)
    assert await worker.refresher.fresh(session, force=force) is None
    assert scripted.asked == []


async def test_invalid_grant_ends_the_session(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """The provider says that the grant is gone: so is the session, for everybody."""
    scripted.answers["/token"] = Answer(400, {"error": "invalid_grant"})
    with capture_logs() as logs:
        assert await worker.refresher.fresh(session) is None
    assert await worker.store.reload(session.key) is None
    ended = [line for line in logs if line["event"] == "session.ended"]
    assert [line["reason"] for line in ended] == [EndReason.REVOKED]


async def never(_asked: Asked) -> Answer:
    """Answer when the test is long over."""
    await asyncio.sleep(60)
    raise AssertionError


FAILURES: list[Any] = [
    Answer(500, {"error": "invalid_grant"}),
    Answer(503, b"<html>"),
    Answer(429, {"error": "invalid_grant"}),
    Answer(401, {"error": "invalid_client"}),
    Answer(400, {"error": "unauthorized_client"}),
    Answer(400, {"error": "temporarily_unavailable"}),
    Answer(400, {"error": ["invalid_grant"]}),
    Answer(200, b"nonsense"),
    Answer(200, {"token_type": "Bearer"}),
    Answer(200, {"access_token": "a b", "token_type": "Bearer"}),
    Answer(200, {"access_token": "a", "token_type": "DPoP"}),
    Answer(200, b"x" * 100, cut=10),
    Answer(302, {}, headers=(("Location", "/token2"),)),
]


@pytest.mark.parametrize("answer", FAILURES, ids=lambda answer: f"{answer.status} {answer.body}")
async def test_any_other_failure_leaves_the_session(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock, answer: Answer
) -> None:
    """The old token serves while it lives; then it is 503, and the session is still there."""
    scripted.answers["/token"] = answer
    assert await worker.refresher.fresh(session) is session
    clock.advance(11)
    with pytest.raises(ProviderUnavailableError):
        await worker.refresher.fresh(session)
    assert await worker.store.reload(session.key) == session
    clock.advance(31)
    came = rotating(scripted)
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert came == ["refresh-one"]


async def test_a_slow_provider_is_not_waited_for_while_the_old_token_lives(
    worker: Worker, session: Session, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old token serves at once, the refresh goes on behind it, and who forces one waits."""
    monkeypatch.setattr(refresh, "STALE_AFTER", 0.1)
    came = rotating(scripted, pause=0.4)
    watch = Stopwatch()
    assert await worker.refresher.fresh(session) is session
    assert watch.seconds() < 0.3
    fresh = await worker.refresher.fresh(session, force=True)
    assert fresh is not None
    assert fresh.tokens.access_token == "access-2"
    assert came == ["refresh-one"]


async def test_a_silent_provider_leaves_the_session(
    worker: Worker, session: Session, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time-outs are failures like any other."""
    from bff.oidc import http

    await worker.refresher._provider.metadata()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(http, "DEADLINE", 0.2)
    scripted.answers["/token"] = never
    assert await worker.refresher.fresh(session) is session
    assert await worker.store.reload(session.key) == session


async def test_a_forced_refresh_that_fails_is_told(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """Who asked for new tokens now does not get old ones."""
    for answer in (Answer(500, {}), Answer(401, {"error": "invalid_client"})):
        scripted.answers["/token"] = answer
        with pytest.raises(ProviderUnavailableError):
            await worker.refresher.fresh(session, force=True)
    assert await worker.store.reload(session.key) == session


async def test_a_failing_provider_is_left_alone_for_a_growing_while(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """1, 2, 4 ... 30 s between attempts; a success starts again from the beginning."""
    session = replace(session, tokens=replace(session.tokens, expires_at=clock.now + 50))
    scripted.answers["/token"] = Answer(503, {})
    for attempt, pause in enumerate((1, 2, 4, 8, 16, 30, 30), start=1):
        for _ in range(3):
            session = replace(session, tokens=replace(session.tokens, expires_at=clock.now + 10))
            assert await worker.refresher.fresh(session) is session
        assert scripted.times("/token") == attempt
        clock.advance(pause)
    rotating(scripted)
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    scripted.answers["/token"] = Answer(503, {})
    clock.advance(LIFE - 10)
    assert await worker.refresher.fresh(fresh) is fresh
    clock.advance(1)
    before = scripted.times("/token")
    assert await worker.refresher.fresh(fresh) is fresh
    assert scripted.times("/token") == before + 1


async def test_a_logout_during_a_refresh_wins(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """The session stays ended, its new refresh token is revoked, and nobody gets new tokens."""
    scripted.answers["/revoke"] = Answer(200, b"")

    async def logged_out_meanwhile(_asked: Asked) -> Answer:
        await worker.store.end(session.key, EndReason.LOGOUT)
        return granted()

    scripted.answers["/token"] = logged_out_meanwhile
    assert await worker.refresher.fresh(session) is None
    assert await worker.store.reload(session.key) is None
    assert scripted.last("/revoke").form == {
        "token": "refresh-two", "token_type_hint": "refresh_token",
    }  # fmt: skip


@pytest.mark.parametrize("answer", [Answer(503, {}), Answer(400, {"error": "unsupported"})])
async def test_a_revocation_that_fails_is_noted(
    worker: Worker, session: Session, scripted: ScriptedProvider, answer: Answer
) -> None:
    """What cannot be revoked is in the log; the session is ended all the same."""
    scripted.answers["/revoke"] = answer

    async def logged_out_meanwhile(_asked: Asked) -> Answer:
        await worker.store.end(session.key, EndReason.LOGOUT)
        return granted()

    scripted.answers["/token"] = logged_out_meanwhile
    with capture_logs() as logs:
        assert await worker.refresher.fresh(session) is None
    assert "token.revocation_failed" in {line["event"] for line in logs}


async def test_a_record_that_changed_meanwhile_is_taken_as_it_is(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """Somebody else's newer tokens win over ours, and nothing is revoked."""
    newer = session.with_tokens(replace(session.tokens, access_token="newer"))

    async def saved_meanwhile(_asked: Asked) -> Answer:
        assert await worker.store.save(newer)
        return granted()

    scripted.answers["/token"] = saved_meanwhile
    assert await worker.refresher.fresh(session) == newer
    assert scripted.times("/revoke") == 0


async def test_invalid_grant_for_an_old_token_ends_nothing(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """Where the record has newer tokens by now, the refusal speaks of ones that are gone."""
    newer = session.with_tokens(replace(session.tokens, access_token="newer"))

    async def saved_meanwhile(_asked: Asked) -> Answer:
        assert await worker.store.save(newer)
        return Answer(400, {"error": "invalid_grant"})

    scripted.answers["/token"] = saved_meanwhile
    assert await worker.refresher.fresh(session) == newer
    assert await worker.store.reload(session.key) == newer


async def test_an_ended_session_is_not_refreshed(
    worker: Worker, session: Session, scripted: ScriptedProvider
) -> None:
    """Who still holds an ended session gets nothing, and the provider is not asked."""
    await worker.store.end(session.key, EndReason.LOGOUT)
    assert await worker.refresher.fresh(session) is None
    assert scripted.asked == []


def new_id_token(scripted: ScriptedProvider, clock: Clock, **changes: object) -> str:
    """Return an ID token for alice, issued now."""
    times = {"iat": clock.now, "exp": clock.now + 300}
    return sign(id_claims(**{"iss": scripted.issuer, **times, **changes}), kid="one")


async def test_a_new_id_token_is_kept(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """It is checked, and becomes the hint for the provider's sign-out."""
    token = new_id_token(scripted, clock, at_hash=at_hash("access-two"))
    scripted.answers["/token"] = granted(id_token=token)
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert fresh.tokens.id_token == token


async def test_an_id_token_of_another_user_ends_the_session(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Their tokens are never used."""
    token = new_id_token(scripted, clock, sub="mallory")
    scripted.answers["/token"] = granted(id_token=token)
    with capture_logs() as logs:
        assert await worker.refresher.fresh(session) is None
    assert await worker.store.reload(session.key) is None
    assert EndReason.WRONG_USER in {line.get("reason") for line in logs}


@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://other.example"}, {"aud": "other"}, {"exp": 5}, {"nonce": "other"},
     {"at_hash": at_hash("other")}, {"iat": None}],
    ids=str,
)  # fmt: skip
async def test_a_bad_id_token_leaves_the_session_and_its_tokens(
    worker: Worker,
    session: Session,
    scripted: ScriptedProvider,
    clock: Clock,
    changes: dict[str, Any],
) -> None:
    """Tokens beside an ID token that is not believed are not used; nobody is signed out."""
    token = new_id_token(scripted, clock, **changes)
    scripted.answers["/token"] = granted(id_token=token)
    assert await worker.refresher.fresh(session) is session
    assert await worker.store.reload(session.key) == session


@pytest.mark.parametrize("kind", ["none", "stranger", "nonsense"])
async def test_an_id_token_that_nobody_signed_changes_nothing(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock, kind: str
) -> None:
    """Not even one that names another user: it ends no session."""
    claims = id_claims(iss=scripted.issuer, iat=clock.now, exp=clock.now + 300, sub="mallory")
    token = {
        "none": forge({"alg": "none"}, claims),
        "stranger": sign(claims, rsa("evil"), kid="one"),
        "nonsense": "nonsense",
    }[kind]
    scripted.answers["/token"] = granted(id_token=token)
    assert await worker.refresher.fresh(session) is session
    assert await worker.store.reload(session.key) == session


@pytest.mark.parametrize("force", [False, True])
async def test_a_refresh_goes_on_when_its_browser_has_gone(
    worker: Worker, session: Session, scripted: ScriptedProvider, *, force: bool
) -> None:
    """A caller that is cancelled does not lose the new tokens."""
    came = rotating(scripted, pause=0.1)
    caller = asyncio.create_task(worker.refresher.fresh(session, force=force))
    await asyncio.sleep(0.05)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await worker.refresher.aclose()
    found = await worker.store.reload(session.key)
    assert found is not None
    assert found.tokens.refresh_token == "refresh-2"
    assert came == ["refresh-one"]


async def test_the_lease_of_somebody_else_is_waited_for(
    worker: Worker, session: Session, scripted: ScriptedProvider, redis: Redis
) -> None:
    """While another worker refreshes nobody is asked; a message wakes who waits."""
    came = rotating(scripted)
    await redis.put(names.lease(session.key), b"another", 30)
    waiting = asyncio.create_task(worker.refresher.fresh(session))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    newer = session.with_tokens(replace(session.tokens, access_token="newer"))
    watch = Stopwatch()
    assert await worker.store.save(newer)
    assert await waiting == newer
    assert watch.seconds() < 0.2
    assert came == []
    assert await redis.get(names.lease(session.key)) == b"another"


async def test_a_lease_that_was_left_behind_runs_out(
    worker: Worker, session: Session, scripted: ScriptedProvider, redis: Redis
) -> None:
    """A worker that died in a refresh holds up the others for a while, and no longer."""
    came = rotating(scripted)
    await redis.put(names.lease(session.key), b"dead", 0.4)
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert came == ["refresh-one"]


async def test_who_waits_too_long_gets_the_old_token(
    worker: Worker,
    session: Session,
    scripted: ScriptedProvider,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for a lease has an end."""
    monkeypatch.setattr(refresh, "WAIT_SECONDS", 0.1)
    await redis.put(names.lease(session.key), b"stuck", 30)
    assert await worker.refresher.fresh(session) is session
    assert scripted.asked == []


async def test_a_session_that_ends_while_it_waits_is_gone(
    worker: Worker, session: Session, redis: Redis
) -> None:
    """Who waits for a lease hears of the end of the session."""
    await redis.put(names.lease(session.key), b"another", 30)
    waiting = asyncio.create_task(worker.refresher.fresh(session))
    await asyncio.sleep(0.1)
    await worker.store.end(session.key, EndReason.LOGOUT)
    assert await waiting is None


async def test_the_lease_is_given_back(
    worker: Worker, session: Session, scripted: ScriptedProvider, redis: Redis
) -> None:
    """After success, refusal and failure; and only our own is."""
    for answer in (Answer(503, {}), Answer(401, {"error": "invalid_client"}), granted()):
        scripted.answers["/token"] = answer
        try:
            await worker.refresher.fresh(session, force=True)
        except ProviderUnavailableError:
            assert answer.status != 200
        assert await redis.get(names.lease(session.key)) is None

    async def stolen(_asked: Asked) -> Answer:
        await redis.put(names.lease(session.key), b"another", 30)
        return Answer(503, {})

    current = await worker.store.reload(session.key)
    assert current is not None
    scripted.answers["/token"] = stolen
    with pytest.raises(ProviderUnavailableError):
        await worker.refresher.fresh(current, force=True)
    assert await redis.get(names.lease(session.key)) == b"another"


async def test_a_long_refresh_keeps_its_lease(
    worker: Worker,
    session: Session,
    scripted: ScriptedProvider,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lease is renewed while the provider takes its time, so that nobody else asks too."""
    monkeypatch.setattr(lease, "SECONDS", 0.15)
    came = rotating(scripted, pause=0.5)
    asking = asyncio.create_task(worker.refresher.fresh(session))
    await asyncio.sleep(0.4)
    assert await redis.get(names.lease(session.key)) is not None
    assert await asking is not None
    assert len(came) == 1


class Flaky:
    """Stands for a store whose Redis is away for the first few saves."""

    def __init__(self, store: SessionStore, failures: int) -> None:
        self._store = store
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def save(self, session: Session) -> bool:
        """Fail, and then save."""
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("test")
        return await self._store.save(session)


async def test_new_tokens_are_not_lost_while_redis_is_away(
    worker: Worker, session: Session, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old refresh token is spent, so saving is tried again; in the end it is told."""
    monkeypatch.setattr(refresh, "POLL_SECONDS", 0.01)
    came = rotating(scripted)
    monkeypatch.setattr(worker.refresher, "_store", Flaky(worker.store, 3))
    fresh = await worker.refresher.fresh(session)
    assert fresh is not None
    assert await worker.store.reload(session.key) == fresh
    monkeypatch.setattr(refresh, "SAVE_SECONDS", 0.05)
    monkeypatch.setattr(worker.refresher, "_store", Flaky(worker.store, 1000))
    with pytest.raises(StoreUnavailableError):
        await worker.refresher.fresh(fresh, force=True)
    assert came == ["refresh-one", "refresh-2"]


async def test_without_redis_nothing_is_refreshed(
    provider: Provider, clock: Clock, scripted: ScriptedProvider, free_port: Callable[[], int]
) -> None:
    """A lease that cannot be taken: 503, and the provider is not asked."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    store = make_store(redis, clock)
    live = LiveSessions(store, Signals(redis))
    refresher = Refresher(provider, store, redis, live, clock)
    session = a_session(now=clock.now, expires_at=clock.now + 1)
    with pytest.raises(StoreUnavailableError):
        await refresher.fresh(session, force=True)
    assert scripted.asked == []
    await refresher.aclose()
    await redis.aclose()


async def test_no_token_is_in_any_log_line(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Successes and failures are logged without what they are about."""
    with capture_logs() as logs:
        for answer in (Answer(400, {"error": "refresh-one"}), granted(id_token="bad.id.token")):
            scripted.answers["/token"] = answer
            clock.advance(31)
            session = replace(session, tokens=replace(session.tokens, expires_at=clock.now + 5))
            await worker.refresher.fresh(session)
        clock.advance(31)
        session = replace(session, tokens=replace(session.tokens, expires_at=clock.now + 5))
        scripted.answers["/token"] = granted()
        await worker.refresher.fresh(session)
    assert {"session.refresh_failed", USED} <= {line["event"] for line in logs}
    text = json.dumps(logs, default=str)
    for secret in ("refresh-one", "refresh-two", "access-one", "access-two", "bad.id.token"):
        assert secret not in text


async def test_two_providers_are_two_worlds(
    worker: Worker, session: Session, scripted: ScriptedProvider, clock: Clock
) -> None:
    """A token signed for another issuer's policy is not believed here."""
    other = provider_of(scripted, clock, issuer=scripted.issuer + "/other")
    try:
        token = new_id_token(scripted, clock, iss=other.issuer)
        scripted.answers["/token"] = granted(id_token=token)
        assert await worker.refresher.fresh(session) is session
    finally:
        await other.aclose()
