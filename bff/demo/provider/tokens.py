"""The JWTs of the dev provider: what stands in them.

Sources: RFC 9068 (access tokens), OpenID Connect Core 2 and 3.1.3.6 (ID tokens, `at_hash`),
Back-Channel Logout 1.0 section 2.4 (logout tokens).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from bff.demo.provider.users import find_user

if TYPE_CHECKING:
    from bff.demo.provider.grants import Grant
    from bff.demo.provider.state import ProviderState

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
# In the ID token only what a greeting and a policy need; the rest is at the userinfo endpoint.
ID_TOKEN_CLAIMS = frozenset({"name", "preferred_username", "roles"})


def access_token(
    state: ProviderState, grant: Grant, scopes: tuple[str, ...], audience: str | None = None
) -> str:
    """Issue an access token for an audience, the configured one unless another is named."""
    now = state.now()
    jti = state.random_token()
    user = find_user(grant.sub)
    state.grants.note_access_token(jti, grant)
    claims: dict[str, object] = {
        "iss": state.config.issuer,
        "sub": grant.sub,
        "aud": audience or state.config.audience,
        "client_id": grant.client_id,
        "iat": now,
        "exp": now + state.config.lifetimes.access_token,
        "jti": jti,
        "scope": " ".join(scopes),
        "roles": [] if user is None else list(user.roles),
    }
    if user is not None:
        claims |= {"auth_time": grant.auth_time, "acr": grant.acr}
    return state.keys.sign("at+jwt", claims)


def id_token(state: ProviderState, grant: Grant, access: str, *, nonce: str | None) -> str:
    """Issue an ID token beside the access token `access`."""
    now = state.now()
    user = find_user(grant.sub)
    claims: dict[str, object] = {
        "iss": state.config.issuer,
        "sub": grant.sub,
        "aud": grant.client_id,
        "iat": now,
        "exp": now + state.config.lifetimes.id_token,
        "auth_time": grant.auth_time,
        "acr": grant.acr,
        "sid": grant.sid,
        "at_hash": at_hash(access),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if user is not None:
        opened = user.claims(grant.scopes)
        claims |= {name: value for name, value in opened.items() if name in ID_TOKEN_CLAIMS}
    return state.keys.sign("JWT", claims)


def logout_token(state: ProviderState, client_id: str, sub: str, sid: str | None) -> str:
    """Issue a logout token for one session, or without `sid` for all sessions of `sub`."""
    now = state.now()
    claims: dict[str, object] = {
        "iss": state.config.issuer,
        "aud": client_id,
        "iat": now,
        "exp": now + state.config.lifetimes.logout_token,
        "jti": state.random_token(),
        "sub": sub,
        "events": {LOGOUT_EVENT: {}},
    }
    if sid is not None:
        claims["sid"] = sid
    return state.keys.sign("logout+jwt", claims)


def at_hash(access: str) -> str:
    """Hash an access token for the ID token beside it: half of its SHA-256."""
    half = sha256(access.encode("ascii")).digest()[:16]
    return urlsafe_b64encode(half).rstrip(b"=").decode()
