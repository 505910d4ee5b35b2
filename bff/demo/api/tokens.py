"""Judges an access token; pure.

Order: shape and header, key, signature, type, issuer, audience, times. One algorithm, RS256; the
key comes from the issuer's set by `kid` and never from the token.

Source: RFC 9068 section 4 (JWT access tokens), RFC 8725 (JWT best practices).
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

ALGORITHM = "RS256"
LEEWAY = 5
MAX_LENGTH = 16 * 1024


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified token says. `expires_at` is in seconds since the epoch."""

    sub: str
    client_id: str
    scopes: frozenset[str]
    roles: frozenset[str]
    name: str | None
    expires_at: int


class InvalidTokenError(Exception):
    """The token is not to be believed; `reason` is a stable word, never part of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_kid(token: str) -> str:
    """Return the `kid` of a token's header, unverified, to find its key with.

    Raises InvalidTokenError.
    """
    if len(token) > MAX_LENGTH or not token.isascii():
        raise InvalidTokenError("malformed")
    encoded = token.partition(".")[0]
    try:
        header: object = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError) as error:
        raise InvalidTokenError("malformed") from error
    kid = _members(header).get("kid")
    if not isinstance(kid, str):
        raise InvalidTokenError("no_kid")
    return kid


def import_keys(jwks: object) -> dict[str, RSAKey]:
    """Return the RS256 signature keys of a JWK Set by `kid`; one unusable key spoils no other."""
    keys: dict[str, RSAKey] = {}
    for member in _list(_members(jwks).get("keys")):
        jwk = _members(member)
        kid = jwk.get("kid")
        usable = jwk.get("kty") == "RSA" and jwk.get("use") != "enc"
        if usable and jwk.get("alg") in {None, ALGORITHM} and isinstance(kid, str):
            try:
                public: dict[str, str | list[str]] = {
                    part: str(jwk[part]) for part in ("kty", "n", "e")
                }
                keys[kid] = RSAKey.import_key(public)
            except (JoseError, KeyError, ValueError):
                continue
    return keys


def verify(token: str, key: RSAKey, issuer: str, audience: str, now: float) -> AccessToken:
    """Return what the token says, once all of it is proven. Raises InvalidTokenError."""
    try:
        decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
    except JoseError as error:
        raise InvalidTokenError("signature") from error
    typ = str(decoded.header.get("typ", "")).lower().removeprefix("application/")
    if typ != "at+jwt" or "crit" in decoded.header:
        raise InvalidTokenError("type")
    claims = _members(decoded.claims)
    if claims.get("iss") != issuer:
        raise InvalidTokenError("issuer")
    aud = claims.get("aud")
    if audience not in (_list(aud) or [aud]):
        raise InvalidTokenError("audience")
    expires_at, issued_at = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    not_before = _seconds(claims.get("nbf", issued_at))
    if expires_at <= now - LEEWAY:
        raise InvalidTokenError("expired")
    if max(issued_at, not_before) > now + LEEWAY:
        raise InvalidTokenError("not_yet_valid")
    sub, client_id, name = claims.get("sub"), claims.get("client_id"), claims.get("name")
    if not isinstance(sub, str) or not isinstance(client_id, str):
        raise InvalidTokenError("claims")
    scope = claims.get("scope", "")
    return AccessToken(
        sub=sub,
        client_id=client_id,
        scopes=frozenset(scope.split() if isinstance(scope, str) else ()),
        roles=frozenset(role for role in _list(claims.get("roles")) if isinstance(role, str)),
        name=name if isinstance(name, str) else None,
        expires_at=expires_at,
    )


def _seconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTokenError("times")
    return value


def _members(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
