"""The end-session endpoint (OpenID Connect RP-Initiated Logout 1.0).

With a valid `id_token_hint` its session ends at once; otherwise the user is asked. A
`post_logout_redirect_uri` is followed only if it is registered, exactly, for a client that the hint
or `client_id` names; a wrong one ends on a page, with nobody signed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

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
from bff.demo.provider.pages import page, redirect
from bff.demo.provider.parameters import Parameters, read_form, read_query_or_form
from bff.demo.provider.users import find_user

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bff.demo.provider.state import ProviderState

PASSED_ON = ("client_id", "post_logout_redirect_uri", "state")
PURPOSE = "logout"


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """What was asked: `hinted_sid` is the session of a valid hint, `onward` where to go after."""

    hinted_sid: str | None
    onward: str | None


async def end_session(state: ProviderState, request: Request) -> Response:
    """End the session of the hint and go on, or ask the user first."""
    parameters = await read_query_or_form(request)
    wanted = check_logout(state, parameters)
    state.counters["end_session_requests"] += 1
    session = state.sessions.of_cookie(request.cookies.get(SSO_COOKIE))
    if wanted.hinted_sid is not None:
        hinted = state.sessions.of_sid(wanted.hinted_sid)
        if hinted is not None:
            await sign_out_session(state, hinted)
        return _done(wanted, clear=session is None or session.sid == wanted.hinted_sid)
    if session is None:
        return _done(wanted, clear=False)
    cookie = form_cookie(state, request)
    response = page(
        "logout",
        user=find_user(session.sub),
        hidden={name: value for name in PASSED_ON if (value := parameters.get(name))},
        csrf=form_token(state, cookie, PURPOSE),
    )
    set_cookie(response, COOKIE, cookie)
    return response


async def confirm_logout(state: ProviderState, request: Request) -> Response:
    """End the session of this browser, which its user has confirmed."""
    form = await read_form(request)
    check_form_token(state, request, form.get("csrf"), PURPOSE)
    wanted = check_logout(state, form)
    session = state.sessions.of_cookie(request.cookies.get(SSO_COOKIE))
    if session is not None:
        await sign_out_session(state, session)
    return _done(wanted, clear=True)


def check_logout(state: ProviderState, parameters: Parameters) -> LogoutRequest:
    """Judge the parameters. Raises PageError."""
    if parameters.repeated:
        raise PageError("Request refused", "A parameter was sent more than once.")
    client_id = parameters.get("client_id")
    hinted_sid = None
    if (hint := parameters.get("id_token_hint")) is not None:
        claims = state.keys.verify(hint, "JWT")
        if claims is None:
            raise PageError("Request refused", "The id_token_hint was not issued here.")
        if client_id not in {None, claims["aud"]}:
            raise PageError("Request refused", "The id_token_hint is another application's.")
        client_id, hinted_sid = str(claims["aud"]), str(claims["sid"])
    client = state.config.client(client_id)
    if client_id is not None and client is None:
        raise PageError("Unknown application", "No application is registered under this client_id.")
    onward = parameters.get("post_logout_redirect_uri")
    if onward is not None and (client is None or onward not in client.post_logout_redirect_uris):
        raise PageError(
            "Address not registered",
            "The post_logout_redirect_uri is not registered for this application, so you are not"
            " sent there.",
        )
    if onward is not None and (value := parameters.get("state")) is not None:
        onward += ("&" if "?" in onward else "?") + urlencode({"state": value})
    return LogoutRequest(hinted_sid, onward)


def _done(wanted: LogoutRequest, *, clear: bool) -> Response:
    response = page("signed_out") if wanted.onward is None else redirect(wanted.onward)
    if clear:
        response.delete_cookie(SSO_COOKIE, httponly=True, samesite="lax")
    return response
