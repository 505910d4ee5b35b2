"""How we prove to the provider who we are, as hooks for Authlib's client.

- `client_secret_basic`: both parts form-encoded before base64 (RFC 6749 2.3.1); Authlib's stock
  form sends them raw, as some providers want it (BFF_BASIC_AUTH_ENCODING).
- `client_secret_jwt`, `private_key_jwt` (RFC 7523): the audience is the issuer, as a string, at
  every endpoint (RFC 9126 2, protocol note T7); a new `jti` each time; a minute of life.
- `tls_client_auth`, `self_signed_tls_client_auth` (RFC 8705 2): the TLS connection proves it, and
  `client_id` in the form says who is meant.
- `client_secret_post` and `none`: fields added to the form; Authlib's stock form takes the body
  apart first, and stumbles over values that are not ASCII. No field is sent twice (RFC 6749 3.2).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote_plus
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import OctKey

from bff.oidc.client_keys import PrivateKey
from bff.oidc.form import form_encoded
from bff.oidc.keys import OneAlgorithm

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 60

Prepared = tuple[str, MutableMapping[str, str], Any]


class Client(Protocol):
    """What Authlib hands to a hook."""

    client_id: str
    client_secret: str


Hook = Callable[[Client, str, str, MutableMapping[str, str], Any], Prepared]


def choose_method(
    configured: str | None,
    *,
    has_secret: bool,
    has_key: bool,
    offered: frozenset[str],
    has_certificate: bool = False,
) -> str:
    """Return the client authentication method of the contract's table (BFF_CLIENT_AUTH)."""
    if configured is not None:
        return configured
    if has_key:
        return "private_key_jwt"
    if has_certificate:
        only_self_signed = (
            "self_signed_tls_client_auth" in offered and "tls_client_auth" not in offered
        )
        return "self_signed_tls_client_auth" if only_self_signed else "tls_client_auth"
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


def raw_basic(
    client: Client, method: str, uri: str, headers: MutableMapping[str, str], body: Any
) -> Prepared:
    """Authenticate by HTTP Basic with both parts as they are (RFC 7617 2, in UTF-8)."""
    del method
    pair = f"{client.client_id}:{client.client_secret}"
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
    """Say who we are; the proof is the TLS connection, or there is none (RFC 6749 3.2.1)."""
    del method
    return uri, headers, _with_fields(body, {"client_id": client.client_id})


PLAIN_METHODS: dict[str, Hook] = {
    "client_secret_basic": basic,
    "client_secret_post": post,
    "tls_client_auth": public,
    "self_signed_tls_client_auth": public,
    "none": public,
}


def assertion(
    issuer: str, key: PrivateKey | OctKey, alg: str, clock: Callable[[], float] = time.time
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


def _with_fields(body: Any, fields: dict[str, str]) -> str:
    text = (body.decode() if isinstance(body, bytes) else body) or ""
    given = {field.partition("=")[0] for field in text.split("&")}
    missing = {name: value for name, value in fields.items() if name not in given}
    return f"{text}&{form_encoded(missing)}" if text else form_encoded(missing)
