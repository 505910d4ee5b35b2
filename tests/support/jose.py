"""Keys and tokens for tests: proper ones, and such as only an attacker would make."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey | OctKey

ISSUER = "https://login.example.com/"
CLIENT_ID = "my-spa"
NOW = 1_800_000_000.0
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class _AnyAlgorithm(jws.JWSRegistry):
    """Signs with whatever a test asks for."""

    max_header_length = 1_000_000

    def get_alg(self, name: str) -> Any:
        """Return the algorithm of this name."""
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        """Let everything through."""


@cache
def rsa(name: str = "first") -> RSAKey:
    """Return an RSA key; the same one for the same name."""
    del name
    return RSAKey.generate_key(2048)


@cache
def ec(curve: str = "P-256", name: str = "first") -> ECKey:
    """Return an EC key; the same one for the same curve and name."""
    del name
    return ECKey.generate_key(curve)


@cache
def ed25519(name: str = "first") -> OKPKey:
    """Return an Ed25519 key; the same one for the same name."""
    del name
    return OKPKey.generate_key("Ed25519")


def jwk(key: Key, **members: object) -> dict[str, Any]:
    """Return the public half as a JWK without `kid`, with other members added."""
    public = {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}
    return {**public, **members}


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(
    claims: Mapping[str, Any] | bytes, key: Key | None = None, alg: str = "RS256", **header: object
) -> str:
    """Return a signed JWT; `header` members are added, and None takes one away."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    members = {"alg": alg, **header}
    protected = {name: value for name, value in members.items() if value is not None}
    registry = _AnyAlgorithm(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(protected, payload, key or rsa(), registry=registry)


def forge(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any], secret: bytes = b"") -> str:
    """Return a JWT of any header, unsigned or with an HMAC under `secret`."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = f"{b64(head)}.{b64(json.dumps(claims).encode())}"
    mac = hmac.digest(secret, signed.encode(), "sha256") if secret else b""
    return f"{signed}.{b64(mac)}"


def encrypt(
    inner: str,
    key: Key,
    alg: str = "RSA-OAEP-256",
    enc: str = "A128CBC-HS256",
    **header: object,
) -> str:
    """Return a JWE around a text for `key`; `header` members are added, None takes one away."""
    members: dict[str, Any] = {"alg": alg, "enc": enc, "cty": "JWT", **header}
    protected = {name: value for name, value in members.items() if value is not None}
    registry = jwe.JWERegistry(algorithms=[alg, enc, "DEF"], strict_check_header=False)
    return jwe.encrypt_compact(protected, inner, key, registry=registry)


def at_hash(access_token: str, size: str = "sha256") -> str:
    """Return the `at_hash` of an access token (OIDC Core 3.1.3.6)."""
    digest = hashlib.new(size, access_token.encode()).digest()
    return b64(digest[: len(digest) // 2])


def id_claims(**changes: object) -> dict[str, Any]:
    """Return the claims of a proper ID token; None takes one away."""
    claims = {
        "iss": ISSUER, "sub": "alice", "aud": CLIENT_ID, "exp": NOW + 300, "iat": NOW,
        "nonce": "n-0S6_WzA2Mj", **changes,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


def logout_claims(**changes: object) -> dict[str, Any]:
    """Return the claims of a proper logout token; None takes one away."""
    claims = {
        "iss": ISSUER, "sub": "alice", "aud": CLIENT_ID, "exp": NOW + 120, "iat": NOW,
        "jti": "one", "sid": "s1", "events": {LOGOUT_EVENT: {}}, **changes,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}
