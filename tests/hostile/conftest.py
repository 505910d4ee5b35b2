"""Three services at hostile providers, shared: one as usual, one with every way in and out open and
answers in forms, and one as FAPI 2.0 wants it. Each is started once in a run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.hostile.fapi import Fapi, open_fapi
from tests.hostile.rig import Rig, Wide, open_rig
from tests.support import jose
from tests.support.scripted_provider import Answer, ScriptedProvider, scripted_provider

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


def several(provider: ScriptedProvider) -> None:
    """Have three keys that fit a token without `kid`, and a frame that watches sessions."""
    poison(provider)
    keys = [jose.jwk(jose.rsa(), kid="one"), *map(jose.jwk, map(jose.rsa, ("second", "third")))]
    provider.answers["/jwks"] = Answer(body={"keys": [*DECOYS, *keys]})
    provider.answers["/revoke"] = Answer(body={})
    provider.metadata["check_session_iframe"] = f"{provider.issuer}frame"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def wide(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wide]:
    """A service with `form_post`, both sign-outs by the provider, its logins, and an API."""
    async with scripted_provider() as api:
        env = {
            "BFF_RESPONSE_MODE": "form_post",
            "BFF_FRONTCHANNEL_LOGOUT": "true",
            "BFF_INITIATE_LOGIN": "true",
            "BFF_ROUTES": json.dumps({"/api": api.issuer}),
        }
        folder = tmp_path_factory.mktemp("wide")
        async with open_rig(folder, env, prepare=several) as rig:
            yield Wide(rig, api)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fapi(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fapi]:
    """A service with a key of its own, at a provider that enforces FAPI 2.0."""
    async with open_fapi(tmp_path_factory.mktemp("fapi")) as made:
        yield made
