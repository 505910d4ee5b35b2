"""Tokens of ended sessions are revoked, and no provider keeps a user from signing out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from bff.oidc.provider import Provider
from bff.sessions import revocation
from bff.sessions.revocation import ATTEMPTS, Revoker
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.sessions import a_session
from tests.support.stopwatch import Stopwatch

OK = Answer(200, b"")


def slow(seconds: float) -> Callable[[Asked], Awaitable[Answer]]:
    """Return a script that takes its time."""

    async def answer(_asked: Asked) -> Answer:
        await asyncio.sleep(seconds)
        return OK

    return answer


async def test_the_refresh_token_is_revoked(provider: Provider, scripted: ScriptedProvider) -> None:
    """It has happened when the call returns."""
    scripted.answers["/revoke"] = OK
    await Revoker(provider).revoke(a_session())
    assert scripted.last("/revoke").form == {
        "token": "refresh-one", "token_type_hint": "refresh_token",
    }  # fmt: skip


async def test_without_a_refresh_token_there_is_nothing_to_do(
    provider: Provider, scripted: ScriptedProvider
) -> None:
    """No session, and one without a refresh token, ask nobody."""
    revoker = Revoker(provider)
    await revoker.revoke(None)
    await revoker.revoke(a_session(refresh_token=None))
    await revoker.aclose()
    assert scripted.asked == []


async def test_a_slow_provider_is_not_waited_for(
    provider: Provider, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sign-out goes on after a moment, and the revocation behind it."""
    monkeypatch.setattr(revocation, "PATIENCE", 0.1)
    await provider.metadata()
    scripted.answers["/revoke"] = slow(0.3)
    revoker = Revoker(provider)
    watch = Stopwatch()
    with capture_logs() as logs:
        await revoker.revoke(a_session())
        assert watch.seconds() < 0.25
        monkeypatch.setattr(revocation, "PATIENCE", 1.0)
        await revoker.aclose()
    assert [line["event"] for line in logs] == ["token.revoked"]


async def test_stopping_waits_for_a_moment_only(
    provider: Provider, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation that takes too long is given up when the service stops."""
    monkeypatch.setattr(revocation, "PATIENCE", 0.05)
    scripted.answers["/revoke"] = slow(60)
    revoker = Revoker(provider)
    await asyncio.gather(*(revoker.revoke(a_session()) for _ in range(3)))
    watch = Stopwatch()
    await revoker.aclose()
    assert watch.seconds() < 0.5


async def test_a_provider_that_is_away_is_asked_again(
    provider: Provider, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some attempts, and then it is left."""
    monkeypatch.setattr(revocation, "PAUSE", 0.01)
    scripted.answers["/revoke"] = Answer(503, {})
    with capture_logs() as logs:
        await Revoker(provider).revoke(a_session())
    assert scripted.times("/revoke") == ATTEMPTS
    assert [line["event"] for line in logs if "attempt" in line] == [
        "token.revocation_failed"
    ] * ATTEMPTS
    answers = [Answer(503, {}), OK]
    scripted.answers["/revoke"] = lambda _asked: answers.pop(0)
    with capture_logs() as logs:
        await Revoker(provider).revoke(a_session())
    assert [line["event"] for line in logs] == ["token.revocation_failed", "token.revoked"]


async def test_a_refusal_is_final(provider: Provider, scripted: ScriptedProvider) -> None:
    """Our own bad client secret is not tried again and again."""
    scripted.answers["/revoke"] = Answer(401, {"error": "invalid_client"})
    with capture_logs() as logs:
        await Revoker(provider).revoke(a_session())
    assert scripted.times("/revoke") == 1
    assert "token.revocation_refused" in {line["event"] for line in logs}
    assert "refresh-one" not in repr(logs)
