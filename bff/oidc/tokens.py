"""What a token says, judged. Pure; times are seconds since the epoch.

ID token: OIDC Core 3.1.3.7 in the order of protocol note 3.10; in a refresh answer also Core 12.2.
Logout token: OIDC Back-Channel Logout 2.6. The signature was checked before (`keys.verify`), so
that every function here takes a `Verified` and nothing less.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from bff.issuers import accepts_tenant, true_issuer
from bff.oidc.json import is_object
from bff.oidc.keys import BadTokenError, Verified
from bff.provider_values import Accepted
from bff.values import has_one_of

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ID_TOKEN_TYPES = frozenset({"jwt", "id_token+jwt"})
MAX_ID_TOKEN_AGE = 600
MAX_SUB = 255
HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose tokens we accept: one issuer, one audience, one algorithm; `skew` in seconds.

    `tenants` are those of an issuer with several that may sign in; `required_claims` the values
    that an ID token must have one of.
    """

    issuer: str
    client_id: str
    alg: str
    skew: float
    logout_typ_required: bool = False
    tenants: frozenset[str] = frozenset()
    required_claims: Mapping[str, Accepted] = field(default_factory=dict[str, Accepted])


@dataclass(frozen=True, slots=True)
class IdToken:
    """An ID token that is believed. `raw` is what `id_token_hint` will be.

    `iss` is the true issuer: of several tenants the user's own.
    """

    sub: str
    sid: str | None
    issued_at: float
    claims: Mapping[str, Any]
    raw: str
    iss: str


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A logout token that is believed: whom the provider signed out, by `sid`, `sub` or both.

    `issued_at` is in whole seconds, rounded up: an ID token of the same second is not newer.
    """

    sub: str | None
    sid: str | None
    jti: str
    issued_at: int
    expires_at: float
    iss: str


def check_id_token(
    token: Verified,
    policy: Policy,
    now: float,
    *,
    nonce: str,
    access_token: str | None = None,
    code: str | None = None,
    state: str | None = None,
    max_age: int | None = None,
    acr_values: str | None = None,
    asked_at: float | None = None,
    essential: Sequence[str] = (),
    sub: str | None = None,
) -> IdToken:
    """Judge the ID token of a login. Raises BadTokenError naming the first thing wrong.

    `access_token`, `code` and `state` are what came with it, to which its hashes must belong. The
    rest is what the request asked for: `acr_values`, of which one must be there; `max_age`, seconds
    before `asked_at` (now, unless given) in which the user must have signed in; `essential` claims,
    and a certain `sub`.
    """
    claims = _common(token, policy, now)
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
        raise BadTokenError("nonce")
    if now - claims["iat"] > MAX_ID_TOKEN_AGE + policy.skew:
        raise BadTokenError("iat_old")
    for name, hashed in (("at_hash", access_token), ("c_hash", code), ("s_hash", state)):
        _check_hash(token, name, hashed)
    auth_time = claims.get("auth_time")
    if auth_time is not None and (not is_time(auth_time) or auth_time > now + policy.skew):
        raise BadTokenError("auth_time")
    # A user who took long at the provider's pages has not signed in too long ago: Core 3.1.2.1
    # has the provider measure when it is asked.
    since = now if asked_at is None else min(now, asked_at)
    if max_age is not None and (auth_time is None or since - auth_time > max_age + policy.skew):
        raise BadTokenError("max_age")
    if acr_values is not None and claims.get("acr") not in acr_values.split():
        raise BadTokenError("acr")
    if sub is not None and claims["sub"] != sub:
        raise BadTokenError("other_sub")
    if any(claims.get(name) is None for name in essential):
        raise BadTokenError("essential_claim")
    check_required(claims, policy)
    return _id_token(token, claims, policy)


def check_required(claims: Mapping[str, Any], policy: Policy) -> None:
    """Refuse claims that lack one of BFF_REQUIRED_CLAIMS, or have another value."""
    required = policy.required_claims.items()
    if not all(has_one_of(claims.get(name), accepted) for name, accepted in required):
        raise BadTokenError("required_claim")


def check_refreshed_id_token(
    token: Verified,
    policy: Policy,
    now: float,
    *,
    sub: str,
    login_claims: Mapping[str, Any],
    access_token: str | None = None,
) -> IdToken:
    """Judge the ID token of a refresh answer: it must speak of the same user (Core 12.2)."""
    claims = _common(token, policy, now)
    if claims["sub"] != sub:
        raise BadTokenError("sub_changed")
    for name in ("auth_time", "nonce", "tid"):
        if name in claims and name in login_claims and claims[name] != login_claims[name]:
            raise BadTokenError(f"{name}_changed")
    _check_hash(token, "at_hash", access_token)
    return _id_token(token, claims, policy)


def check_logout_token(token: Verified, policy: Policy, now: float) -> LogoutToken:
    """Judge a logout token. Raises BadTokenError naming the first thing wrong."""
    typ = token.header.get("typ")
    if typ is None and policy.logout_typ_required:
        raise BadTokenError("typ")
    if typ is not None:
        accepted = {"logout+jwt"} if policy.logout_typ_required else {"logout+jwt", "jwt"}
        if _type(typ) not in accepted:
            raise BadTokenError("typ")
    claims = token.claims
    issuer = _check_issuer_audience_times(claims, policy, now)
    sub, sid, jti, events = (claims.get(name) for name in ("sub", "sid", "jti", "events"))
    if sub is None and sid is None:
        raise BadTokenError("no_sub_no_sid")
    if sub is not None and not _is_subject(sub):
        raise BadTokenError("sub")
    if sid is not None and (not isinstance(sid, str) or not sid):
        raise BadTokenError("sid")
    if not is_object(events) or not is_object(events.get(LOGOUT_EVENT)):
        raise BadTokenError("events")
    if "nonce" in claims:
        raise BadTokenError("nonce")
    if not isinstance(jti, str) or not jti:
        raise BadTokenError("jti")
    return LogoutToken(sub, sid, jti, math.ceil(claims["iat"]), float(claims["exp"]), issuer)


def _common(token: Verified, policy: Policy, now: float) -> Mapping[str, Any]:
    typ = token.header.get("typ")
    if typ is not None and _type(typ) not in ID_TOKEN_TYPES:
        raise BadTokenError("typ")
    claims = token.claims
    _check_issuer_audience_times(claims, policy, now)
    if not _is_subject(claims.get("sub")):
        raise BadTokenError("sub")
    sid = claims.get("sid")
    if sid is not None and not isinstance(sid, str):
        raise BadTokenError("sid")
    if "events" in claims:
        raise BadTokenError("events")
    return claims


def _check_issuer_audience_times(claims: Mapping[str, Any], policy: Policy, now: float) -> str:
    issuer = true_issuer(claims, policy.issuer)
    if issuer is None:
        raise BadTokenError("iss")
    if not accepts_tenant(claims, policy.issuer, policy.tenants):
        raise BadTokenError("tenant")
    audience = claims.get("aud")
    if audience not in (policy.client_id, [policy.client_id]):
        raise BadTokenError("aud")
    if "azp" in claims and claims["azp"] != policy.client_id:
        raise BadTokenError("azp")
    expires, issued, not_before = (claims.get(name) for name in ("exp", "iat", "nbf"))
    if not is_time(expires) or now >= expires + policy.skew:
        raise BadTokenError("exp")
    if not is_time(issued) or issued > now + policy.skew:
        raise BadTokenError("iat")
    if not_before is not None and (not is_time(not_before) or not_before > now + policy.skew):
        raise BadTokenError("nbf")
    return issuer


def _check_hash(token: Verified, name: str, hashed: str | None) -> None:
    """Check a hash of Core 3.1.3.6 and 3.3.2.11, or `s_hash` of FAPI 1.0; each is optional."""
    expected = token.claims.get(name)
    if expected is None or hashed is None:
        return
    hash_function = HASHES.get(str(token.header["alg"])[-3:], hashlib.sha512)
    digest = hash_function(hashed.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(expected, str) or not hmac.compare_digest(expected.encode(), half):
        raise BadTokenError(name)


def _id_token(token: Verified, claims: Mapping[str, Any], policy: Policy) -> IdToken:
    issuer = true_issuer(claims, policy.issuer) or policy.issuer
    return IdToken(
        claims["sub"], claims.get("sid"), float(claims["iat"]), claims, token.raw, issuer
    )


def _type(typ: object) -> str:
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else ""


def is_time(value: object) -> TypeGuard[float]:
    """Whether a claim is a NumericDate (RFC 7519 2)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12  # noqa: PLR2004


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_SUB
