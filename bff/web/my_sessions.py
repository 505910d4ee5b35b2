"""`/bff/sessions`: a user sees where they are signed in, and ends what they do not recognise."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from bff.web.pages import NO_STORE, json_answer, timestamp
from bff.web.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes of one's own sessions."""
    routes = APIRouter()

    @routes.get("/bff/sessions")
    async def mine(request: Request) -> Response:
        current = await own(service, request)
        sessions = await service.directory.of_user(current.iss, current.sub)
        return json_answer({"sessions": [describe(one, current) for one in sessions]})

    @routes.delete("/bff/sessions/{display_id}")
    async def end_one(request: Request, display_id: str) -> Response:
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
        for one in await service.directory.of_user(current.iss, current.sub):
            if one.key != current.key:
                await end(service, one)
        return Response(None, 204, NO_STORE)

    return routes


async def own(service: Service, request: Request) -> Session:
    """Return the session of this browser. Raises unauthenticated."""
    session = await service.access.session(request.headers.raw)
    if session is None:
        raise Problem(Code.UNAUTHENTICATED, "no_session")
    return session


async def end(service: Service, session: Session) -> None:
    """End a session at its owner's wish, and revoke what it held."""
    await service.revoker.revoke(await service.store.end(session.key, EndReason.ENDED_BY_USER))


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
