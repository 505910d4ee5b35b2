"""The authorization endpoint and its sign-in page.

`GET` or `POST /authorize`: judge the request, then either answer at once (the browser is signed in
and nothing asks for more) or show the sign-in page. `POST /login`: a card was clicked, the user is
signed in, and the request that waited is answered. A waiting request is kept here, and its form
works only in the browser that it was shown to.

Sources: RFC 6749 section 4.1, RFC 9207, OpenID Connect Core 3.1.2, Form Post Response Mode, JARM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bff.demo.provider.authorization_request import (
    ACRS,
    AuthorizationError,
    AuthorizationRequest,
    ResponseTarget,
    check_request,
    must_sign_in,
)
from bff.demo.provider.backchannel import sign_out_session
from bff.demo.provider.errors import PageError
from bff.demo.provider.forms import (
    COOKIE,
    SSO_COOKIE,
    check_form_token,
    form_cookie,
    form_token,
    set_cookie,
)
from bff.demo.provider.grants import Grant
from bff.demo.provider.pages import page, redirect
from bff.demo.provider.parameters import read_form, read_query_or_form
from bff.demo.provider.users import USERS, find_user

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bff.demo.provider.sso import SsoSession
    from bff.demo.provider.state import ProviderState

SIGNED_ANSWER = "oauth-authz-resp+jwt"
SIGNED_ANSWER_SECONDS = 600


async def authorize(state: ProviderState, request: Request) -> Response:
    """Answer an authorization request, or ask the user to sign in."""
    wanted = check_request(await read_query_or_form(request), state.config)
    state.counters["authorization_requests"] += 1
    session = state.sessions.of_cookie(request.cookies.get(SSO_COOKIE))
    hinted = _hinted_sub(state, wanted)
    if session is not None and not must_sign_in(wanted, session, hinted, state.now()):
        return _answer_code(state, wanted, session)
    if "none" in wanted.prompts:
        raise AuthorizationError(wanted.target, "login_required", "the user has to sign in")
    return _sign_in_page(state, request, wanted, session, hinted)


async def login(state: ProviderState, request: Request) -> Response:
    """Sign in whoever was chosen on the sign-in page, and answer the request that waits."""
    form = await read_form(request)
    sign_in = form.get("sign_in") or ""
    check_form_token(state, request, form.get("csrf"), sign_in)
    wanted = state.sign_ins.get(sign_in)
    if wanted is None:
        raise PageError(
            "This sign-in has expired",
            "The page was open for too long. Go back to the application and start again.",
        )
    if form.get("cancel") is not None:
        raise AuthorizationError(wanted.target, "access_denied", "the user cancelled the sign-in")
    user = next((one for one in USERS if one.sub == form.get("user")), None)
    if user is None:
        raise PageError("Unknown user", "There is no such user. Go back and choose one.")
    previous = state.sessions.of_cookie(request.cookies.get(SSO_COOKIE))
    if previous is not None and previous.sub != user.sub:
        await sign_out_session(state, previous)
    session = state.sessions.sign_in(previous, user.sub, wanted.acr or ACRS[0])
    state.counters["sign_ins"] += 1
    response = _answer_code(state, wanted, session)
    set_cookie(response, SSO_COOKIE, session.cookie)
    return response


def answer_error(state: ProviderState, error: AuthorizationError) -> Response:
    """Tell the client what went wrong (RFC 6749 section 4.1.2.1)."""
    parameters = error.target.parameters(error=error.error, error_description=error.description)
    return _answer(state, error.target, parameters)


def _answer_code(
    state: ProviderState, wanted: AuthorizationRequest, session: SsoSession
) -> Response:
    user = find_user(session.sub)
    assert user is not None
    grant = Grant(
        client_id=wanted.client.client_id,
        sub=session.sub,
        sid=session.sid,
        scopes=tuple(scope for scope in wanted.scopes if user.may_have(scope)),
        auth_time=session.auth_time,
        acr=wanted.acr or session.acr,
        nonce=wanted.nonce,
    )
    session.client_ids.add(wanted.client.client_id)
    code = state.grants.issue_code(grant, wanted.target.redirect_uri, wanted.code_challenge)
    return _answer(state, wanted.target, wanted.target.parameters(code=code))


def _answer(state: ProviderState, target: ResponseTarget, parameters: dict[str, str]) -> Response:
    if target.response_mode.endswith("jwt"):
        claims = {"aud": target.client_id, "exp": state.now() + SIGNED_ANSWER_SECONDS}
        parameters = {"response": state.keys.sign(SIGNED_ANSWER, {**parameters, **claims})}
    if target.response_mode.startswith("form_post"):
        return page("form_post", action=target.redirect_uri, parameters=parameters)
    return redirect(target.url(parameters))


def _sign_in_page(
    state: ProviderState,
    request: Request,
    wanted: AuthorizationRequest,
    session: SsoSession | None,
    hinted: str | None,
) -> Response:
    sign_in = state.random_token()
    state.sign_ins[sign_in] = wanted
    cookie = form_cookie(state, request)
    preselected = find_user(wanted.login_hint) or find_user(hinted)
    if preselected is None and session is not None:
        preselected = find_user(session.sub)
    response = page(
        "login",
        client_id=wanted.client.client_id,
        users=USERS,
        preselected=preselected,
        signed_in_sub=None if session is None else session.sub,
        scopes=wanted.scopes,
        strong=wanted.acr == ACRS[1],
        sign_in=sign_in,
        csrf=form_token(state, cookie, sign_in),
    )
    set_cookie(response, COOKIE, cookie)
    return response


def _hinted_sub(state: ProviderState, wanted: AuthorizationRequest) -> str | None:
    if wanted.id_token_hint is None:
        return None
    claims = state.keys.verify(wanted.id_token_hint, "JWT")
    if claims is None:
        raise AuthorizationError(wanted.target, "invalid_request", "id_token_hint is not ours")
    return str(claims["sub"])
