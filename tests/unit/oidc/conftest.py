"""A provider that says what a test wants, and our side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bff.oidc.provider import Provider, Registration
from bff.oidc.tokens import Policy
from tests.support.clock import Clock
from tests.support.scripted_provider import ScriptedProvider, scripted_provider

CLIENT_SECRET = "dev-secret:with/odd+chars %and=more, 32 bytes"

MakeProvider = Callable[..., Provider]


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedProvider]:
    """A provider on a real socket."""
    async with scripted_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> Clock:
    """The clock of the provider under test."""
    return Clock(1000.0)


@pytest.fixture
async def make_provider(
    scripted: ScriptedProvider, clock: Clock
) -> AsyncIterator[MakeProvider]:
    """A function that makes our side of the scripted provider; it is closed after the test."""
    made: list[Provider] = []

    def make(**changes: Any) -> Provider:
        alg = changes.pop("alg", "RS256")
        issuer = changes.pop("issuer", scripted.issuer)
        values: dict[str, Any] = {
            "issuer": issuer,
            "client_id": "my-spa",
            "client_secret": CLIENT_SECRET,
            "client_auth": None,
            "client_key_file": None,
            "scopes": ("openid",),
            "authorize_params": {},
            "response_mode": "query",
            "fetch_userinfo": None,
            "policy": Policy(issuer, "my-spa", alg, 30.0),
            **changes,
        }
        provider = Provider(Registration(**values), clock)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        await provider.aclose()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with a private key for client assertions."""
    from tests.support.jose import ec

    path = tmp_path / "client-key.pem"
    path.write_bytes(ec(name="client").as_pem(private=True))
    return path
