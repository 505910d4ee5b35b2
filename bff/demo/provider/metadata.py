"""The discovery document and the JWK Set: what this provider can do, and nothing more.

Sources: OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9207, Back-Channel Logout 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from bff.demo.provider.authorization_request import ACRS, PROMPTS, RESPONSE_MODES
from bff.demo.provider.client_auth import METHODS
from bff.demo.provider.keys import ALGORITHM
from bff.demo.provider.token_endpoint import GRANT_TYPES
from bff.demo.provider.users import SCOPES, USERS

if TYPE_CHECKING:
    from starlette.requests import Request

    from bff.demo.provider.state import ProviderState

PROTOCOL_CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "sid", "at_hash")


async def discovery(state: ProviderState, _request: Request) -> Response:
    """Answer `/.well-known/openid-configuration`."""
    return JSONResponse(metadata(state.config.issuer), headers={"Cache-Control": "no-cache"})


async def jwks(state: ProviderState, _request: Request) -> Response:
    """Answer with the public keys."""
    state.counters["jwks_requests"] += 1
    return JSONResponse(state.keys.jwks(), headers={"Cache-Control": "no-cache"})


def metadata(issuer: str) -> dict[str, object]:
    """Return the discovery document."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "revocation_endpoint": f"{issuer}/revoke",
        "end_session_endpoint": f"{issuer}/logout",
        "scopes_supported": list(SCOPES),
        "claims_supported": [*PROTOCOL_CLAIMS, *USERS[0].claims(SCOPES)],
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": list(GRANT_TYPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "authorization_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": list(PROMPTS),
        "acr_values_supported": list(ACRS),
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }
