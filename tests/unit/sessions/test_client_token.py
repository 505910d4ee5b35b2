"""The service's own access token: fetched once, kept while it is good, served while it lives."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from bff.errors import ProviderUnavailableError
from bff.oidc.provider import Provider
from bff.sessions.client_token import ClientToken
from tests.support.clock import Clock
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider

LIFE = 300


@pytest.fixture
def client_token(provider: Provider, clock: Clock) -> ClientToken:
    """The token under test."""
    return ClientToken(provider, clock)


def counting(scripted: ScriptedProvider, lifetime: int | None = LIFE) -> None:
    """Let the provider give a new token each time."""

    async def answer(_asked: Asked) -> Answer:
        await asyncio.sleep(0.02)
        members = {"access_token": f"at-{scripted.times('/token')}", "token_type": "Bearer"}
        return Answer(body=members if lifetime is None else {**members, "expires_in": lifetime})

    scripted.answers["/token"] = answer


async def test_it_is_fetched_once_for_all(
    client_token: ClientToken, scripted: ScriptedProvider
) -> None:
    """A crowd makes one request, of client credentials."""
    counting(scripted)
    found = await asyncio.gather(*(client_token.get() for _ in range(50)))
    assert set(found) == {"at-1"}
    assert scripted.last("/token").form == {"grant_type": "client_credentials"}


async def test_it_is_fetched_anew_when_it_is_due(
    client_token: ClientToken, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Kept until less than a minute is left."""
    counting(scripted)
    assert await client_token.get() == "at-1"
    clock.advance(LIFE - 60)
    assert await client_token.get() == "at-1"
    clock.advance(1)
    assert await asyncio.gather(*(client_token.get() for _ in range(9))) == ["at-2"] * 9


async def test_one_without_a_lifetime_is_kept(
    client_token: ClientToken, scripted: ScriptedProvider, clock: Clock
) -> None:
    """A provider that names no lifetime is asked once."""
    counting(scripted, None)
    await client_token.get()
    clock.advance(1e6)
    assert await client_token.get() == "at-1"


@pytest.mark.parametrize(
    "answer",
    [Answer(503, {}), Answer(401, {"error": "invalid_client"}),
     Answer(400, {"error": "invalid_grant"}), Answer(200, b"x")],
)  # fmt: skip
async def test_the_old_one_serves_while_it_lives(
    client_token: ClientToken, scripted: ScriptedProvider, clock: Clock, answer: Answer
) -> None:
    """A failure shows only when there is no token any more, and is over when it is over."""
    counting(scripted)
    assert await client_token.get() == "at-1"
    scripted.answers["/token"] = answer
    clock.advance(LIFE - 10)
    assert await client_token.get() == "at-1"
    clock.advance(10)
    with pytest.raises(ProviderUnavailableError):
        await client_token.get()
    counting(scripted)
    clock.advance(2)
    assert await client_token.get() == f"at-{scripted.times('/token')}"


async def test_a_failing_provider_is_asked_once_a_second(
    client_token: ClientToken, scripted: ScriptedProvider, clock: Clock
) -> None:
    """A crowd that waits does not ask one after the other."""
    scripted.answers["/token"] = Answer(503, {})
    with capture_logs() as logs:
        for attempt in (1, 2):
            found = await asyncio.gather(
                *(client_token.get() for _ in range(20)), return_exceptions=True
            )
            assert {type(error) for error in found} == {ProviderUnavailableError}
            assert scripted.times("/token") == attempt
            clock.advance(1)
    assert [line["event"] for line in logs if "client" in line["event"]] == [
        "client_token.failed"
    ] * 2
