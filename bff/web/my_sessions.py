"""`/bff/sessions`: a user sees where they are signed in, and ends what they do not recognise."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from bff.web.pages import NO_STORE, json_answer, timestamp
from bff.web.service import Service

# Described here: for a parameter FastAPI would load all of pydantic.v1, 1.6 MB a worker.
DISPLAY_ID = {"name": "display_id", "in": "path", "required": True, "schema": {"type": "string"}}

log = structlog.get_logger("bff.my_sessions")


def router(service: Service) -> APIRouter:
    """Return the routes of one's own sessions."""
    routes = APIRouter()

    @routes.get("/bff/sessions")
    async def mine(request: Request) -> Response:
        current = await own(service, request)
        sessions = await service.directory.of_user(current.iss, current.sub)
        return json_answer({"sessions": [describe(one, current) for one in sessions]})

    @routes.delete("/bff/sessions/{display_id}", openapi_extra={"parameters": [DISPLAY_ID]})
    async def end_one(request: Request) -> Response:
        display_id: str = request.path_params["display_id"]
        service.check_csrf(request)
        current = await own(service, request)
        sessions = await service.directory.of_user(current.iss, current.sub)
        found = next((one for one in sessions if one.display_id == display_id), None)
        if found is None:
            raise Problem(Code.NOT_FOUND, "no_such_session")
        await end(service, found)
        answer = Response(None, 204, NO_STORE)
        if found.key == current.key:
            answer.headers.append("set-cookie", service.session_cookie.clear())
        return answer

    @routes.delete("/bff/sessions")
    async def end_others(request: Request) -> Response:
        service.check_csrf(request)
        current = await own(service, request)
        sessions = await service.directory.of_user(current.iss, current.sub)
        await end(service, *(one for one in sessions if one.key != current.key))
        return Response(None, 204, NO_STORE)

    return routes


async def own(service: Service, request: Request) -> Session:
    """Return the session of this browser. Raises unauthenticated."""
    session = await service.access.session(request.headers.raw)
    if session is None:
        raise Problem(Code.UNAUTHENTICATED, "no_session")
    return session


async def end(service: Service, *sessions: Session) -> None:
    """End sessions at their owner's wish, all of them, and then revoke what they held."""
    keys = [session.key for session in sessions]
    ended = await service.store.end_many(keys, EndReason.ENDED_BY_USER)
    for session in ended:
        log.info("session.ended", session=session.display_id, reason=EndReason.ENDED_BY_USER)
    await service.parties.revoke(*ended)


def describe(session: Session, current: Session) -> dict[str, object]:
    """Return what the user is shown of one session."""
    return {
        "id": session.display_id,
        "created_at": timestamp(session.created_at),
        "last_used_at": timestamp(session.last_used_at),
        "current": session.key == current.key,
        "address": session.device.address,
        "browser": session.device.browser,
    }
