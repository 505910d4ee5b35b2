"""Sign out: here, and at the provider (OIDC RP-Initiated Logout 1.0).

The session ends first, whatever becomes of the rest. The address of the provider's sign-out carries
the ID token as a hint, so it never stands in a body that a script can read: the page gets a handle
to it, good once and for a minute.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem, StoreUnavailableError
from bff.oidc.authorization import token
from bff.provider_values import filled
from bff.sessions import names
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from bff.web.pages import json_answer, page, redirect, wants_page
from bff.web.service import Service, once, query_pairs

# RP-Initiated Logout 1.0, 2: what is sent where BFF_LOGOUT_PARAMS says nothing else.
STANDARD = {
    "id_token_hint": "{id_token}",
    "client_id": "{client_id}",
    "post_logout_redirect_uri": "{post_logout_redirect_uri}",
    "state": "{state}",
}
HANDLE = re.compile(r"[A-Za-z0-9_-]{43}")

log = structlog.get_logger("bff.logout")


def router(service: Service) -> APIRouter:
    """Return the routes of signing out."""
    routes = APIRouter()

    @routes.post("/bff/logout")
    async def logout(request: Request) -> Response:
        service.check_csrf(request)
        session = await end_own_session(service, request)
        handle = token(service.randomness(32))
        await service.logins.keep_sign_out(handle, await sign_out_url(service, session))
        await service.parties.revoke(session)
        url = f"/bff/logout?go={handle}"
        navigates = wants_page(request.headers)
        answer = redirect(url) if navigates else json_answer({"logout_url": url})
        answer.headers.append("set-cookie", service.session_cookie.clear())
        return answer

    @routes.get("/bff/logout")
    async def logout_page(request: Request) -> Response:
        handle = once(query_pairs(request), "go").get("go")
        if handle is None:
            # With no-referrer the form would be sent with `Origin: null`.
            return page("logout.html", headers={"Referrer-Policy": "same-origin"})
        if not HANDLE.fullmatch(handle):
            raise Problem(Code.BAD_REQUEST, "bad_sign_out_handle")
        return redirect(await service.logins.take_sign_out(handle) or "/")

    @routes.get("/bff/logged-out")
    async def logged_out(request: Request) -> Response:
        await note_return(service, request)
        return redirect("/")

    return routes


async def end_own_session(service: Service, request: Request) -> Session | None:
    """End the session of this browser, if it has one."""
    session_id = service.session_cookie.read(request.headers.raw)
    if session_id is None:
        await service.redis.ping()
        return None
    session = await service.store.end(names.session_key(session_id), EndReason.LOGOUT)
    if session is not None:
        log.info("session.ended", session=session.display_id, reason=EndReason.LOGOUT)
    return session


async def sign_out_url(service: Service, session: Session | None) -> str:
    """Return where the browser signs out at the provider; `/` where it cannot or need not."""
    party = None if session is None else service.parties.named(session.provider)
    metadata = None if party is None else party.provider.loaded
    if (
        session is None
        or party is None
        or metadata is None
        or metadata.end_session_endpoint is None
    ):
        return "/"
    registration = party.provider.registration
    state = token(service.randomness(32))
    parameters = filled(
        STANDARD if registration.logout_params is None else registration.logout_params,
        {
            "id_token": session.tokens.id_token,
            "client_id": registration.client_id,
            "post_logout_redirect_uri": service.post_logout_redirect_uri,
            "state": state,
            "sid": session.sid,
        },
    )
    if any(state in text for text in parameters.values()):
        await service.logins.keep_logout_state(state)
    endpoint = metadata.end_session_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"


async def note_return(service: Service, request: Request) -> None:
    """Check the `state` that came back; a wrong one changes nothing and is logged.

    None comes back from a provider whose BFF_LOGOUT_PARAMS has none.
    """
    try:
        state = once(query_pairs(request), "state").get("state")
        known = state is not None and await service.logins.take_logout_state(state)
    except StoreUnavailableError as error:
        log.warning("logout.state_unchecked", reason=error.reason)
    except Problem as error:
        log.warning("logout.state_refused", reason=error.reason)
    else:
        if not known and (state or not _some_without_state(service)):
            log.warning("logout.state_refused", reason="unknown" if state else "missing")


def _some_without_state(service: Service) -> bool:
    every = [party.provider.registration.logout_params for party in service.parties]
    return any(params is not None and "{state}" not in str(params.values()) for params in every)
