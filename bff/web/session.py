"""`GET /bff/session`: who is signed in, and for how long. `POST /bff/refresh`: new tokens now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.sessions.session import Session
from bff.web.pages import json_answer, timestamp
from bff.web.service import Service, once, query_pairs

SIGNED_OUT = {"authenticated": False, "login_url": "/bff/login"}


def router(service: Service) -> APIRouter:
    """Return the routes that tell of the session."""
    routes = APIRouter()

    @routes.get("/bff/session")
    async def session(request: Request) -> Response:
        slide = once(query_pairs(request), "slide").get("slide") != "false"
        found = await service.access.session(request.headers.raw, slide=slide)
        return json_answer(SIGNED_OUT if found is None else describe(service, found))

    @routes.post("/bff/refresh")
    async def refresh(request: Request) -> Response:
        service.check_csrf(request)
        found = await service.access.session(request.headers.raw)
        fresh = None if found is None else await service.access.fresh(found, force=True)
        if fresh is None:
            raise Problem(Code.UNAUTHENTICATED, "no_session")
        return json_answer(describe(service, fresh))

    return routes


def describe(service: Service, session: Session) -> dict[str, Any]:
    """Return what the page may know of a session: never a token."""
    now = service.clock()
    watched = session_management(service, session)
    idle_ends_at = session.idle_ends_at(service.settings.session_idle_timeout)
    return {
        "authenticated": True,
        "user": {**session.claims, "sub": session.sub},
        "session": {
            "id": session.display_id,
            "created_at": timestamp(session.created_at),
            "expires_in": max(0, round(session.ends_at - now)),
            "idle_expires_in": max(0, round(idle_ends_at - now)),
        },
        "logout_url": "/bff/logout",
        **({} if watched is None else {"session_management": watched}),
    }


def session_management(service: Service, session: Session) -> dict[str, str] | None:
    """Return what a page needs to watch the provider's frame (OIDC Session Management 1.0, 3).

    None where the provider has no such frame.
    """
    party = service.parties.named(session.provider)
    metadata = None if party is None else party.provider.loaded
    if party is None or metadata is None or session.session_state is None:
        return None
    if metadata.check_session_iframe is None:
        return None
    return {
        "client_id": party.provider.registration.client_id,
        "session_state": session.session_state,
        "check_session_iframe": metadata.check_session_iframe,
    }
