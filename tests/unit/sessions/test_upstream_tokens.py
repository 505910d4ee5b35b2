"""Tokens for one upstream alone: got once, kept with the session, gone with it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import Code, Problem, ProviderUnavailableError
from bff.oidc.token_target import TokenTarget
from bff.sessions import names
from bff.sessions.redis import Redis
from bff.sessions.refresh import SESSION_PAUSE
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from tests.support.clock import Clock
from tests.support.jose import sign
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.sessions import a_session

from .conftest import MakeWorker, Worker

LIFE = 300
ORDERS = TokenTarget(resource="https://orders.example")
STOCK = TokenTarget(resource="https://stock.example")
BILLS = TokenTarget(exchange=True, audience="bills", scope="bills:read")
ISSUED = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
def clock() -> Clock:
    """The clock of stores and refreshers, which starts at the real time, as tokens do."""
    return Clock(float(int(time.time())))


@pytest.fixture
async def session(worker: Worker, scripted: ScriptedProvider, clock: Clock) -> Session:
    """A session in Redis with a living access token."""
    found = a_session(now=clock.now, iss=scripted.issuer, expires_at=clock.now + LIFE)
    await worker.store.create(found, issued_at=clock.now, started_at=0)
    return found


async def get(worker: Worker, session: Session, target: TokenTarget, **options: Any) -> str | None:
    """Return the token's text."""
    found = await worker.tokens.fresh(session, target, **options)
    return None if found is None else found.upstream_tokens[target.name].access_token


async def now(worker: Worker, session: Session) -> Session:
    """Return the session as Redis has it."""
    found = await worker.store.reload(session.key)
    assert found is not None
    return found


class Strict:
    """A provider that rotates: each refresh token is good once, and one that comes twice is not."""

    def __init__(self, scripted: ScriptedProvider, pause: float = 0.02) -> None:
        self.pause = pause
        self.forms: list[dict[str, str]] = []
        self.spent: list[str] = []
        self.members: dict[str, Any] = {}
        self.refusal: Answer | None = None
        scripted.answers["/token"] = self.answer

    async def answer(self, asked: Asked) -> Answer:
        """Answer a token request; tokens name what they are for."""
        form = asked.form
        self.forms.append(form)
        await asyncio.sleep(self.pause)
        if self.refusal is not None:
            return self.refusal
        given: dict[str, Any] = {"token_type": "Bearer", "expires_in": LIFE}
        number = len(self.forms)
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] in self.spent:
                return Answer(400, {"error": "invalid_grant"})
            self.spent.append(form["refresh_token"])
            given["refresh_token"] = f"refresh-{number}-rotated"
            given["access_token"] = f"{form.get('resource', 'own')}#{number}"
        else:
            given |= {"access_token": f"{form['audience']}#{number}", "issued_token_type": ISSUED}
        body = {**given, **self.members}
        return Answer(body={name: value for name, value in body.items() if value is not None})


@pytest.fixture
def strict(scripted: ScriptedProvider) -> Strict:
    """The provider's manners."""
    return Strict(scripted)


async def test_a_token_for_a_resource_is_got_once_and_kept(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """It is in the record, beside the rotated refresh token; the session's own token stays."""
    assert await get(worker, session, ORDERS) == "https://orders.example#1"
    kept = await now(worker, session)
    assert kept.tokens == replace(session.tokens, refresh_token="refresh-1-rotated")
    assert await get(worker, kept, ORDERS) == "https://orders.example#1"
    assert await get(worker, session, ORDERS) == "https://orders.example#1", "known by the record"
    assert len(strict.forms) == 1


async def test_an_exchanged_token_is_got_once_and_kept(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """The session's access token goes out, and the refresh token stays as it is."""
    assert await get(worker, session, BILLS) == "bills#1"
    kept = await now(worker, session)
    assert kept.tokens == session.tokens
    assert kept.upstream_tokens[BILLS.name].scope == {"bills:read"}
    assert await get(worker, kept, BILLS) == "bills#1"
    (form,) = strict.forms
    assert (form["subject_token"], form["audience"]) == (session.tokens.access_token, "bills")


async def test_two_hundred_requests_on_three_workers(
    make_worker: MakeWorker, worker: Worker, session: Session, strict: Strict, clock: Clock
) -> None:
    """Three targets and an expired session token: four requests, no refresh token twice."""
    clock.advance(LIFE + 5)
    workers = [worker, await make_worker(), await make_worker()]

    async def ask(number: int) -> str | None:
        asking = workers[number % 3]
        fresh = await asking.refresher.fresh(session)
        assert fresh is not None
        return await get(asking, fresh, (ORDERS, STOCK, BILLS)[number // 3 % 3])

    found = await asyncio.gather(*(ask(number) for number in range(200)))
    assert len(set(found)) == 3
    refreshes = [form["refresh_token"] for form in strict.forms if "refresh_token" in form]
    assert len(strict.forms) == 4
    assert len(refreshes) == len(set(refreshes)) == 3
    kept = await now(worker, session)
    assert {one.access_token for one in kept.upstream_tokens.values()} == set(found)
    assert kept.tokens.refresh_token not in refreshes


async def test_it_is_renewed_when_it_is_due(
    worker: Worker, session: Session, strict: Strict, clock: Clock
) -> None:
    """Each by its own clock, before it ends."""
    await get(worker, session, ORDERS)
    clock.advance(LIFE - 50)
    kept = await now(worker, session)
    assert await get(worker, kept, ORDERS) == "https://orders.example#2"


async def test_an_upstream_that_refuses_it_gets_another(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """After a 401 for the token a new one is asked for, whatever its time."""
    await get(worker, session, ORDERS)
    kept = await now(worker, session)
    assert await get(worker, kept, ORDERS, force=True) == "https://orders.example#2"


async def test_a_refresh_of_the_session_drops_what_was_exchanged(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """The next request has it exchanged anew, for the new token; a resource's token stays."""
    await get(worker, session, BILLS)
    await get(worker, session, ORDERS)
    fresh = await worker.refresher.fresh(await now(worker, session), force=True)
    assert fresh is not None
    assert set(fresh.upstream_tokens) == {ORDERS.name}
    assert await get(worker, fresh, BILLS) == "bills#4"
    assert strict.forms[-1]["subject_token"] == fresh.tokens.access_token


async def test_a_refresh_waits_for_a_resource_and_is_not_taken_for_done(
    make_worker: MakeWorker, worker: Worker, session: Session, strict: Strict, clock: Clock
) -> None:
    """Who waits for the lease to refresh the session does so, though the record has changed."""
    clock.advance(LIFE + 5)
    strict.pause = 0.3
    other = await make_worker()
    first = asyncio.create_task(get(worker, session, ORDERS))
    while not strict.forms:
        await asyncio.sleep(0.01)
    fresh = await other.refresher.fresh(session)
    assert fresh is not None
    assert fresh.tokens.access_token == "own#2"
    assert await first == "https://orders.example#1"
    assert len(set(strict.spent)) == len(strict.spent) == 2


@pytest.mark.parametrize("target", [ORDERS, BILLS], ids=["resource", "exchange"])
async def test_it_is_gone_with_the_session(
    worker: Worker, session: Session, strict: Strict, redis: Redis, target: TokenTarget
) -> None:
    """Nothing of it is left in Redis, and nobody gets it any more."""
    await get(worker, session, target)
    await worker.store.end(session.key, EndReason.LOGOUT)
    left = [key async for key in redis.scan("*") if session.key in key]
    assert left == [names.tombstone(session.key)]
    assert await get(worker, session, target) is None


@pytest.mark.parametrize("target", [ORDERS, BILLS], ids=["resource", "exchange"])
async def test_a_session_that_ends_meanwhile_stays_ended(
    worker: Worker, session: Session, strict: Strict, target: TokenTarget
) -> None:
    """The token that comes too late is kept nowhere."""
    strict.pause = 0.2
    asking = asyncio.create_task(get(worker, session, target))
    while not strict.forms:
        await asyncio.sleep(0.01)
    await worker.store.end(session.key, EndReason.LOGOUT)
    assert await asking is None
    assert await worker.store.reload(session.key) is None


@pytest.mark.parametrize("target", [ORDERS, BILLS], ids=["resource", "exchange"])
@pytest.mark.parametrize("error", ["invalid_target", "invalid_scope", "unauthorized_client"])
async def test_a_target_that_is_refused_is_502(
    worker: Worker,
    session: Session,
    strict: Strict,
    clock: Clock,
    target: TokenTarget,
    error: str,
) -> None:
    """The log says why, the session stays, and the provider is asked again after a pause."""
    strict.refusal = Answer(400, {"error": error})
    with capture_logs() as logs, pytest.raises(Problem) as caught:
        await get(worker, session, target)
    assert (caught.value.code, caught.value.reason) == (
        Code.UPSTREAM_UNAVAILABLE,
        f"no_token_{error}",
    )
    refused = [line for line in logs if line["event"] == "upstream_token.refused"]
    assert [line["reason"] for line in refused] == [error]
    assert await now(worker, session) == session
    with pytest.raises(Problem):
        await get(worker, session, target)
    assert len(strict.forms) == 1
    strict.refusal = None
    clock.advance(SESSION_PAUSE + 31)
    assert await get(worker, session, target) is not None


async def test_only_a_dead_refresh_token_ends_the_session(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """`invalid_grant` to a refresh does; to an exchange it says nothing of the session."""
    strict.refusal = Answer(400, {"error": "invalid_grant"})
    with pytest.raises(Problem, match="no_token_invalid_grant"):
        await get(worker, session, BILLS)
    assert await now(worker, session) == session
    assert await get(worker, session, ORDERS) is None
    assert await worker.store.why_ended(session.key) == EndReason.REVOKED


async def test_an_answer_about_another_user_ends_the_session(
    worker: Worker, session: Session, strict: Strict, scripted: ScriptedProvider
) -> None:
    """Its tokens are used for nobody."""
    now = time.time()
    claims = {"iss": scripted.issuer, "aud": "my-spa", "iat": now, "exp": now + 300}
    strict.members = {"id_token": sign({**claims, "sub": "mallory"}, kid="one")}
    assert await get(worker, session, ORDERS) is None
    assert await worker.store.why_ended(session.key) == EndReason.WRONG_USER


@pytest.mark.parametrize("target", [ORDERS, BILLS], ids=["resource", "exchange"])
async def test_a_living_token_serves_while_the_provider_fails(
    worker: Worker, session: Session, strict: Strict, clock: Clock, target: TokenTarget
) -> None:
    """Due or not; without one it is 503, and the session stays."""
    token = await get(worker, session, target)
    strict.refusal = Answer(503)
    clock.advance(LIFE - 20)
    kept = await now(worker, session)
    assert await get(worker, kept, target) == token
    clock.advance(25)
    asked = len(strict.forms)
    with pytest.raises(ProviderUnavailableError):
        await get(worker, kept, target)
    assert len(strict.forms) <= asked + 1
    assert await now(worker, session) == kept


async def test_nobody_waits_long_for_the_next_one(
    worker: Worker, session: Session, strict: Strict, clock: Clock
) -> None:
    """With a living token a request goes on after a moment, and the next one is kept anyway."""
    await get(worker, session, ORDERS)
    clock.advance(LIFE - 20)
    strict.pause = 1.6
    kept = await now(worker, session)
    assert await get(worker, kept, ORDERS) == "https://orders.example#1"
    await worker.tokens.aclose()
    assert await get(worker, await now(worker, session), ORDERS) == "https://orders.example#2"


async def test_without_a_refresh_token_there_is_none_for_a_resource(
    worker: Worker, session: Session, strict: Strict, clock: Clock
) -> None:
    """Nobody is asked; the log says what is missing."""
    bare = a_session(
        "two", now=clock.now, iss=session.iss, refresh_token=None, expires_at=clock.now + LIFE
    )
    await worker.store.create(bare, issued_at=clock.now, started_at=0)
    with pytest.raises(Problem, match="no_token_no_refresh_token"):
        await get(worker, bare, ORDERS)
    assert strict.forms == []
    assert await get(worker, bare, BILLS) == "bills#1"


async def test_the_scope_is_that_of_the_answer(
    worker: Worker, session: Session, strict: Strict
) -> None:
    """RFC 8707: it is named where it differs; else it is the session's."""
    strict.members = {"scope": "orders:read"}
    found = await worker.tokens.fresh(session, ORDERS)
    assert found is not None
    assert found.upstream_tokens[ORDERS.name].scope == {"orders:read"}
    strict.members = {}
    found = await worker.tokens.fresh(session, STOCK)
    assert found is not None
    assert found.upstream_tokens[STOCK.name].scope == session.tokens.scope
