"""The token endpoint, and revocation beside it.

Each grant is a function that answers one `grant_type`. Whoever calls has authenticated first.

A refresh may name the resource that its access token is for, and an access token may be exchanged
for one for another audience; neither must be asked for at the sign-in.

Sources: RFC 6749 sections 4.1.3, 4.4, 5 and 6; RFC 7636; RFC 7009; RFC 8693; RFC 8707; OpenID
Connect Core 3.1.3, 12.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from bff.demo.provider.client_auth import authenticate_client
from bff.demo.provider.errors import OAuthError
from bff.demo.provider.grants import Grant
from bff.demo.provider.pages import NO_STORE
from bff.demo.provider.parameters import Parameters, read_form
from bff.demo.provider.tokens import access_token, id_token
from bff.demo.provider.users import API_SCOPES

if TYPE_CHECKING:
    from starlette.requests import Request

    from bff.demo.provider.config import Client
    from bff.demo.provider.state import ProviderState

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials", EXCHANGE)
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


async def token(state: ProviderState, request: Request) -> Response:
    """Answer a token request. Raises OAuthError, BadParametersError."""
    form = await read_form(request)
    client = authenticate_client(request.headers.get("authorization"), form, state.config)
    if form.repeated:
        raise OAuthError("invalid_request", "A parameter was sent more than once.")
    grant_type = _required(form, "grant_type")
    if grant_type == "authorization_code":
        answer = _redeem_code(state, client, form)
    elif grant_type == "refresh_token":
        answer = _refresh(state, client, form)
    elif grant_type == "client_credentials":
        answer = _client_credentials(state, client, form)
    elif grant_type == EXCHANGE:
        answer = _exchange(state, client, form)
    else:
        raise OAuthError("unsupported_grant_type", "This grant_type is not supported.")
    state.counters[f"token_requests.{grant_type.rpartition(':')[2]}"] += 1
    return JSONResponse(answer, headers=NO_STORE)


async def revoke(state: ProviderState, request: Request) -> Response:
    """Revoke a token, of a refresh token the whole family; an unknown one is fine (RFC 7009).

    Raises OAuthError, BadParametersError.
    """
    form = await read_form(request)
    client = authenticate_client(request.headers.get("authorization"), form, state.config)
    value = _required(form, "token")
    grant = state.grants.grant_of_refresh_token(value)
    claims = state.keys.verify(value, "at+jwt") if grant is None else None
    owner = grant.client_id if grant else claims and claims.get("client_id")
    if owner is not None and owner != client.client_id:
        raise OAuthError("invalid_grant", "The token was issued to another client.")
    if grant is not None:
        state.counters["revocations.refresh_token"] += not grant.revoked
        grant.revoked = True
    elif claims is not None:
        alive = state.grants.revoke_access_token(str(claims["jti"]))
        state.counters["revocations.access_token"] += alive
    return Response(status_code=200, headers=NO_STORE)


def _redeem_code(state: ProviderState, client: Client, form: Parameters) -> dict[str, object]:
    verifier = _required(form, "code_verifier")
    if not VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_request", "The code_verifier is malformed.")
    code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
    grant = state.grants.redeem_code(code, client.client_id, redirect_uri, verifier)
    answer = _answer(state, grant, grant.scopes)
    answer["id_token"] = id_token(state, grant, str(answer["access_token"]), nonce=grant.nonce)
    if "offline_access" in grant.scopes:
        answer["refresh_token"] = state.grants.issue_refresh_token(grant)
    return answer


def _refresh(state: ProviderState, client: Client, form: Parameters) -> dict[str, object]:
    value = _required(form, "refresh_token")
    grant = state.grants.redeem_refresh_token(value, client.client_id)
    scopes = _narrowed(form, grant.scopes)
    answer = _answer(state, grant, scopes, _audience(state, form.resources))
    # A refreshed ID token carries no nonce (OpenID Connect Core section 12.2).
    answer["id_token"] = id_token(state, grant, str(answer["access_token"]), nonce=None)
    answer["refresh_token"] = state.grants.use_up(value)
    return answer


def _client_credentials(
    state: ProviderState, client: Client, form: Parameters
) -> dict[str, object]:
    wanted = (form.get("scope") or " ".join(API_SCOPES)).split()
    scopes = tuple(scope for scope in dict.fromkeys(wanted) if scope in API_SCOPES)
    grant = Grant(client.client_id, client.client_id, "", scopes, state.now(), "")
    return _answer(state, grant, scopes)


def _exchange(state: ProviderState, client: Client, form: Parameters) -> dict[str, object]:
    """Give a token for another audience for a live access token of the same client (RFC 8693)."""
    subject = _required(form, "subject_token")
    if {_required(form, "subject_token_type"), form.get("requested_token_type") or ACCESS} != {
        ACCESS
    }:
        raise OAuthError("invalid_request", "Only access tokens are exchanged here.")
    claims = state.keys.verify(subject, "at+jwt")
    grant = None if claims is None else state.grants.grant_of_access_token(str(claims["jti"]))
    if claims is None or grant is None or grant.client_id != client.client_id:
        raise OAuthError("invalid_request", "The subject_token is not good, or not this client's.")
    wanted = (*form.resources, *([form.values["audience"]] if "audience" in form.values else ()))
    scopes = _narrowed(form, tuple(str(claims["scope"]).split()))
    return {
        **_answer(state, grant, scopes, _audience(state, wanted)),
        "issued_token_type": ACCESS,
    }


def _narrowed(form: Parameters, granted: tuple[str, ...]) -> tuple[str, ...]:
    scope = form.get("scope")
    if scope is None:
        return granted
    scopes = tuple(dict.fromkeys(scope.split()))
    if not set(scopes) <= set(granted):
        raise OAuthError("invalid_scope", "The scope is wider than what was granted.")
    return scopes


def _audience(state: ProviderState, wanted: tuple[str, ...]) -> str | None:
    if len(set(wanted)) > 1 or not all(map(state.config.knows, wanted)):
        raise OAuthError("invalid_target", "The target is not known, or there are several.")
    return wanted[0] if wanted else None


def _answer(
    state: ProviderState, grant: Grant, scopes: tuple[str, ...], audience: str | None = None
) -> dict[str, object]:
    return {
        "access_token": access_token(state, grant, scopes, audience),
        "token_type": "Bearer",
        "expires_in": state.config.lifetimes.access_token,
        "scope": " ".join(scopes),
    }


def _required(form: Parameters, name: str) -> str:
    value = form.get(name)
    if value is None:
        raise OAuthError("invalid_request", f"The parameter {name} is missing or repeated.")
    return value
