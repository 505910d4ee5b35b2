"""One service at one hostile provider, shared by the tests that need no other set of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.hostile.rig import Rig, open_rig
from tests.support import jose
from tests.support.scripted_provider import Answer, ScriptedProvider

DECOYS: list[object] = [
    {"kty": "EC", "crv": "P-999", "x": "AQ", "y": "AQ", "kid": "unknown curve"},
    {"kty": "quantum", "kid": "unknown type"},
    {"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "tiny"},
    {"kty": "RSA", "n": 5, "e": [], "kid": {}},
    {"kty": "oct", "k": "c2VjcmV0"},
    "not even an object",
    None,
    jose.jwk(jose.rsa("encryption"), kid="one", use="enc"),
    jose.jwk(jose.rsa("wrap"), kid="one", key_ops=["wrapKey"]),
]


def poison(provider: ScriptedProvider) -> None:
    """Put every kind of unusable key before the good ones (trap T5), and offer `none` (T3)."""
    good = [
        jose.jwk(jose.rsa(), kid="one", use="sig", alg="RS256"),
        jose.jwk(jose.ec(), kid="two", use="sig"),
    ]
    provider.answers["/jwks"] = Answer(body={"keys": [*DECOYS, *good]})
    provider.metadata["id_token_signing_alg_values_supported"] = ["none", "HS256", "RS256"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A service whose provider's keys are full of traps."""
    async with open_rig(tmp_path_factory.mktemp("hostile"), prepare=poison) as rig:
        yield rig
