"""Our side of a scripted provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bff.oidc.provider import Provider
from bff.oidc.registration import Registration
from bff.oidc.tokens import Policy
from tests.support.scripted_provider import ScriptedProvider

CLIENT_SECRET = "dev-secret:with/odd+chars %and=more, 32 bytes"
MakeProvider = Callable[..., Provider]


def provider_of(scripted: ScriptedProvider, clock: Callable[[], float], **changes: Any) -> Provider:
    """Return our view of a scripted provider; `changes` are of its registration."""
    issuer = changes.pop("issuer", scripted.issuer)
    policy = Policy(issuer, "my-spa", changes.pop("alg", "RS256"), 30.0)
    values: dict[str, Any] = {
        "issuer": issuer, "client_id": "my-spa", "client_secret": CLIENT_SECRET,
        "client_auth": None, "client_key_file": None, "scopes": ("openid",),
        "authorize_params": {}, "response_mode": "query", "fetch_userinfo": None,
        "policy": policy, **changes,
    }  # fmt: skip
    return Provider(Registration(**values), clock)
