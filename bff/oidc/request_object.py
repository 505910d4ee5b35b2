"""A signed authorization request (JAR, RFC 9101): what we ask cannot be changed on its way. Pure.

The request object holds every parameter, `iss` (us) and `aud` (the issuer); never `sub`, `request`
or `request_uri`, so that it is nothing else by mistake (RFC 9101 10.8). By PAR it is all that is
sent beside `client_id` (RFC 9126 3). In the address `response_type` and `scope` stand beside it
once more, because OpenID Connect wants them there (OIDC Core 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jwt

from bff.oidc.authorization import repeated, token
from bff.oidc.client_keys import SigningKey
from bff.oidc.json import parse_object
from bff.oidc.keys import OneAlgorithm

REQUEST_TYPE = "oauth-authz-req+jwt"
REQUEST_LIFETIME = 300
NUMBERS = frozenset({"max_age"})
OBJECTS = frozenset({"claims"})
BESIDE = ("client_id", "response_type", "scope")


def request_object(
    parameters: Mapping[str, str], signer: SigningKey, issuer: str, now: float, random: bytes
) -> str:
    """Return the request as a JWT of five minutes; `random` becomes its `jti`."""
    issued = int(now)
    claims: dict[str, Any] = {
        name: _value(name, value) for name, value in repeated(parameters).items()
    }
    claims |= {
        "iss": parameters["client_id"], "aud": issuer, "jti": token(random),
        "iat": issued, "nbf": issued, "exp": issued + REQUEST_LIFETIME,
    }  # fmt: skip
    header = {"alg": signer.alg, "typ": REQUEST_TYPE, "kid": signer.key.kid}
    return jwt.encode(header, claims, signer.key, registry=OneAlgorithm(signer.alg))


def pushed(parameters: Mapping[str, str], signed: str) -> dict[str, str]:
    """Return what is sent by PAR instead of the parameters."""
    return {"client_id": parameters["client_id"], "request": signed}


def by_value(parameters: Mapping[str, str], signed: str) -> dict[str, str]:
    """Return what stands in the address instead of the parameters."""
    return {**{name: parameters[name] for name in BESIDE}, "request": signed}


def _value(name: str, value: str | list[str]) -> Any:
    if isinstance(value, list):
        return value if len(value) > 1 else value[0]
    if name in NUMBERS:
        return int(value)
    return parse_object(value) if name in OBJECTS else value
