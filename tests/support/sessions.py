"""Sessions for tests."""

from __future__ import annotations

from typing import Any

from bff.sessions import names
from bff.sessions.device import Device
from bff.sessions.logins import Login
from bff.sessions.session import Session, Tokens
from tests.support import jose

ISSUER = jose.ISSUER


def a_session(session_id: str = "one", now: float = jose.NOW, **changes: Any) -> Session:
    """Return a session of alice that was just made; changes may concern its tokens too."""
    tokens: dict[str, Any] = {
        "access_token": "access-one", "obtained_at": now, "expires_at": now + 300,
        "refresh_token": "refresh-one", "id_token": jose.forge({"alg": "x"}, jose.id_claims()),
        "scope": frozenset({"openid", "orders:read"}),
    }  # fmt: skip
    tokens |= {name: changes.pop(name) for name in list(changes) if name in tokens}
    values: dict[str, Any] = {
        "key": names.session_key(session_id), "generation": 0, "iss": ISSUER, "sub": "alice",
        "sid": "s1", "claims": {"name": "Alice \u20ac"}, "tokens": Tokens(**tokens),
        "created_at": now, "last_used_at": now, "ends_at": now + 43_200,
        "device": Device("192.0.2.7", "Firefox on Linux"), **changes,
    }  # fmt: skip
    return Session(**values)


def a_login(**changes: Any) -> Login:
    """Return a login that was just begun."""
    values: dict[str, Any] = {
        "iss": ISSUER, "nonce": "a-nonce", "code_verifier": "a-verifier", "return_to": "/orders",
        **changes,
    }  # fmt: skip
    return Login(**values)
