"""How we prove to the provider who we are, as hooks for Authlib's client.

- `client_secret_basic`: both parts form-encoded before base64 (RFC 6749 2.3.1); Authlib's stock
  form sends them raw.
- `client_secret_jwt`, `private_key_jwt` (RFC 7523): the audience is the issuer, as a string, at
  every endpoint (RFC 9126 2, protocol note T7); a new `jti` each time; a minute of life.
- `client_secret_post` and `none`: fields added to the form; Authlib's stock form takes the body
  apart first, and stumbles over values that are not ASCII.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from bff.oidc.json import parse_object
from bff.oidc.keys import OneAlgorithm

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 60
KEY_TYPES: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVE_ALGORITHM = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

Prepared = tuple[str, MutableMapping[str, str], Any]
SigningKey = RSAKey | ECKey | OKPKey | OctKey


class Client(Protocol):
    """What Authlib hands to a hook."""

    client_id: str
    client_secret: str


Hook = Callable[[Client, str, str, MutableMapping[str, str], Any], Prepared]


class BadClientKeyError(ValueError):
    """BFF_CLIENT_KEY_FILE holds no private key that we can sign with."""


def choose_method(
    configured: str | None, *, has_secret: bool, has_key: bool, offered: frozenset[str]
) -> str:
    """Return the client authentication method of the contract's table (BFF_CLIENT_AUTH)."""
    if configured is not None:
        return configured
    if has_key:
        return "private_key_jwt"
    if has_secret:
        only_post = "client_secret_post" in offered and "client_secret_basic" not in offered
        return "client_secret_post" if only_post else "client_secret_basic"
    return "none"


def basic(
    client: Client, method: str, uri: str, headers: MutableMapping[str, str], body: Any
) -> Prepared:
    """Authenticate by HTTP Basic, each part form-encoded (RFC 6749 2.3.1)."""
    del method
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return uri, headers, body


def post(
    client: Client, method: str, uri: str, headers: MutableMapping[str, str], body: Any
) -> Prepared:
    """Authenticate by id and secret in the form (RFC 6749 2.3.1)."""
    del method
    fields = {"client_id": client.client_id, "client_secret": client.client_secret}
    return uri, headers, _with_fields(body, fields)


def public(
    client: Client, method: str, uri: str, headers: MutableMapping[str, str], body: Any
) -> Prepared:
    """Say who we are, without proof (RFC 6749 3.2.1)."""
    del method
    return uri, headers, _with_fields(body, {"client_id": client.client_id})


PLAIN_METHODS: dict[str, Hook] = {
    "client_secret_basic": basic,
    "client_secret_post": post,
    "none": public,
}


def assertion(
    issuer: str, key: SigningKey, alg: str, clock: Callable[[], float] = time.time
) -> Hook:
    """Return the hook that signs a fresh client assertion for each request (RFC 7523 2.2)."""

    def sign(
        client: Client, method: str, uri: str, headers: MutableMapping[str, str], body: Any
    ) -> Prepared:
        del method
        now = int(clock())
        claims = {
            "iss": client.client_id, "sub": client.client_id, "aud": issuer,
            "jti": str(uuid4()), "iat": now, "exp": now + ASSERTION_LIFETIME,
        }  # fmt: skip
        header: dict[str, Any] = {"alg": alg, "typ": "JWT"}
        if key.kid and key.key_type != "oct":
            header["kid"] = key.kid
        signed = jwt.encode(header, claims, key, registry=OneAlgorithm(alg))
        fields = {
            "client_id": client.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": signed,
        }
        return uri, headers, _with_fields(body, fields)

    return sign


def load_key(path: Path) -> tuple[SigningKey, str]:
    """Return the private key in a PEM or JWK file, and the algorithm it signs with.

    Raises BadClientKeyError.
    """
    try:
        data = path.read_bytes()
        key = _import_jwk(data) if data.lstrip().startswith(b"{") else _import_pem(data)
    except (OSError, JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise BadClientKeyError("is no private key in PEM or JWK form") from None
    if not isinstance(key, RSAKey | ECKey | OKPKey) or not key.is_private:
        raise BadClientKeyError("is no private key")
    key.ensure_kid()
    return key, signing_algorithm(key)


def signing_algorithm(key: RSAKey | ECKey | OKPKey) -> str:
    """Return the JWS algorithm of a key (RFC 7518 3.1, RFC 9864). Raises BadClientKeyError."""
    if isinstance(key, RSAKey):
        alg = str(key.get("alg") or "PS256")
        if alg not in RSA_ALGORITHMS:
            raise BadClientKeyError("has an alg that we do not sign with")
        return alg
    if isinstance(key, ECKey) and key.curve_name in CURVE_ALGORITHM:
        return CURVE_ALGORITHM[key.curve_name]
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return "EdDSA"
    raise BadClientKeyError("has a curve that we do not sign with")


def _with_fields(body: Any, fields: dict[str, str]) -> str:
    text = body.decode() if isinstance(body, bytes) else body
    return f"{text}&{urlencode(fields)}" if text else urlencode(fields)


def _import_jwk(data: bytes) -> SigningKey:
    jwk = parse_object(data)
    return KEY_TYPES[jwk["kty"]].import_key(jwk)


def _import_pem(data: bytes) -> SigningKey:
    for kind in KEY_TYPES.values():
        try:
            return kind.import_key(data)
        except (JoseError, ValueError, TypeError, AttributeError):
            continue
    raise ValueError("pem")
