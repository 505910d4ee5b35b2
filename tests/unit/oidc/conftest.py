"""A provider that says what a test wants, and our side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bff.oidc.provider import Provider
from tests.support.clock import Clock
from tests.support.jose import ec
from tests.support.our_side import MakeProvider, provider_of
from tests.support.scripted_provider import ScriptedProvider


@pytest.fixture
def clock() -> Clock:
    """The clock of the provider under test."""
    return Clock(1000.0)


@pytest.fixture
async def make_provider(scripted: ScriptedProvider, clock: Clock) -> AsyncIterator[MakeProvider]:
    """A function that makes our side of the scripted provider; it is closed after the test."""
    made: list[Provider] = []

    def make(**changes: Any) -> Provider:
        made.append(provider_of(scripted, clock, **changes))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with a private key for client assertions."""
    path = tmp_path / "client-key.pem"
    path.write_bytes(ec(name="client").as_pem(private=True))
    return path
