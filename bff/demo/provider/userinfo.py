"""The userinfo endpoint: the user's claims for an access token.

Sources: OpenID Connect Core 5.3, RFC 6750 (bearer tokens in the Authorization header only).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from bff.demo.provider.pages import NO_STORE
from bff.demo.provider.users import find_user

if TYPE_CHECKING:
    from starlette.requests import Request

    from bff.demo.provider.state import ProviderState


async def userinfo(state: ProviderState, request: Request) -> Response:
    """Answer with the claims that the token's scopes open."""
    state.counters["userinfo_requests"] += 1
    authorization = request.headers.get("authorization")
    if authorization is None:
        return _refuse(401, None)
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return _refuse(401, None)
    claims = state.keys.verify(token.strip(), "at+jwt")
    grant = None if claims is None else state.grants.grant_of_access_token(str(claims["jti"]))
    if claims is None or grant is None:
        return _refuse(401, "invalid_token")
    scopes = tuple(str(claims["scope"]).split())
    user = find_user(grant.sub)
    if user is None or "openid" not in scopes:
        return _refuse(403, "insufficient_scope")
    return JSONResponse({"sub": user.sub, **user.claims(scopes)}, headers=NO_STORE)


def _refuse(status: int, error: str | None) -> Response:
    challenge = 'Bearer realm="dev provider"'
    if error is None:
        return Response(status_code=status, headers=NO_STORE | {"WWW-Authenticate": challenge})
    headers = NO_STORE | {"WWW-Authenticate": f'{challenge}, error="{error}"'}
    return JSONResponse({"error": error}, status, headers)
