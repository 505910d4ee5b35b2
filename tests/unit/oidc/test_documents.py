"""A provider that moves its keys is followed by the next token, and strangers cannot hammer it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from bff.oidc.cool_down import REFETCH_BURST, REFETCH_EVERY
from bff.oidc.keys import UnknownKeyError
from tests.support.clock import Clock
from tests.support.jose import jwk, rsa, sign
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import (
    DISCOVERY,
    Answer,
    ScriptedProvider,
    scripted_provider,
)

CLAIMS = {"sub": "alice"}
OLD, NEW = sign(CLAIMS, kid="one"), sign(CLAIMS, rsa("two"), kid="two")
EVIL = sign(CLAIMS, rsa("evil"), kid="evil")


def move(scripted: ScriptedProvider) -> None:
    """Publish a new key, elsewhere."""
    scripted.metadata["jwks_uri"] = scripted.url("/moved")
    scripted.answers["/moved"] = Answer(body={"keys": [jwk(rsa("two"), kid="two")]})


@pytest.mark.parametrize("left", [None, Answer(404, {}), Answer(body=b"<html>"), Answer(body={})])
async def test_keys_that_moved_are_found(
    make_provider: MakeProvider, scripted: ScriptedProvider, left: Answer | None
) -> None:
    """Whatever is left at their old address, the first token that they sign is believed."""
    provider = make_provider()
    await provider.verified(OLD)
    move(scripted)
    if left is not None:
        scripted.answers["/jwks"] = left
    with capture_logs() as logs:
        assert (await provider.verified(NEW)).claims == CLAIMS
    assert "provider.keys_moved" in {line["event"] for line in logs}
    assert [one.target for one in scripted.asked] == [
        DISCOVERY, "/jwks", "/jwks", DISCOVERY, "/moved",
    ]  # fmt: skip


async def test_keys_whose_server_is_gone_are_found(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Nobody listens where they were."""
    provider = make_provider()
    async with scripted_provider() as gone:
        scripted.metadata["jwks_uri"] = gone.url("/jwks")
        await provider.verified(OLD)
    move(scripted)
    assert (await provider.verified(NEW)).claims == CLAIMS


async def test_a_crowd_finds_them_together(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """All who meet the move share one reading of discovery and one of the keys."""
    provider = make_provider()
    await provider.verified(OLD)
    move(scripted)
    await asyncio.gather(*(provider.verified(NEW) for _ in range(20)))
    assert (scripted.times("/jwks"), scripted.times(DISCOVERY), scripted.times("/moved")) == (
        2, 2, 1,
    )  # fmt: skip


async def test_who_says_so_later_is_followed_later(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Keys that go before discovery says where to: the next token finds them."""
    provider = make_provider()
    await provider.verified(OLD)
    scripted.answers["/jwks"] = Answer(404, {})
    with pytest.raises(UnknownKeyError):
        await provider.verified(NEW)
    move(scripted)
    assert (await provider.verified(NEW)).claims == CLAIMS


async def test_strangers_make_nobody_read_discovery_in_a_stream(
    make_provider: MakeProvider, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Twice, and then every ten seconds; what they cost is not taken from tokens we fetched."""
    provider = make_provider()
    await provider.verified(OLD)

    async def attack() -> int:
        before = scripted.times(DISCOVERY)
        for _ in range(10):
            with pytest.raises(UnknownKeyError):
                await provider.verified(EVIL, brought=True)
        return scripted.times(DISCOVERY) - before

    assert await attack() == REFETCH_BURST
    assert await attack() == 0
    clock.advance(REFETCH_EVERY)
    assert await attack() == 1
    scripted.answers[DISCOVERY] = Answer(503, {})
    clock.advance(REFETCH_EVERY)
    assert await attack() == 1
    del scripted.answers[DISCOVERY]
    move(scripted)
    assert (await provider.verified(NEW)).claims == CLAIMS


@pytest.mark.parametrize("document", [Answer(503, {}), Answer(body={"issuer": "https://evil"})])
async def test_what_is_no_discovery_document_moves_nothing(
    make_provider: MakeProvider, scripted: ScriptedProvider, document: Answer
) -> None:
    """The token is refused, as one of an unknown key; what we have goes on serving."""
    provider = make_provider()
    await provider.verified(OLD)
    scripted.answers[DISCOVERY] = document
    with pytest.raises(UnknownKeyError):
        await provider.verified(NEW)
    assert provider.loaded is not None
    assert provider.loaded.jwks_uri == scripted.url("/jwks")
    assert (await provider.verified(OLD)).claims == CLAIMS
