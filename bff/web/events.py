"""`GET /bff/events`: a page hears at once what happens to its session (server-sent events).

`session.expiring` (with `expires_in`, whole seconds), `session.refreshed`, and `session.ended`
(with `reason`), after which the stream ends. Listening is no use of the session: it does not put
off its idle end. One subscription a worker serves all streams; a heartbeat keeps idle ones open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from bff.errors import Code, Problem, StoreUnavailableError
from bff.server import ENDLESS
from bff.sessions.live import SWEEP_EVERY
from bff.web.pages import JSON_POLICY
from bff.web.service import Service

if TYPE_CHECKING:
    from bff.sessions.session import Session

HEARTBEAT = 15.0
WARN_BEFORE = 60.0
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": JSON_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Accel-Buffering": "no",
}


def router(service: Service) -> APIRouter:
    """Return the route of the event stream."""
    routes = APIRouter()

    @routes.get("/bff/events")
    async def events(request: Request) -> Response:
        session = await service.access.session(request.headers.raw, slide=False)
        if session is None:
            raise Problem(Code.UNAUTHENTICATED, "no_session")
        request.scope["state"][ENDLESS] = True
        return StreamingResponse(
            stream(service, session), headers=HEADERS, media_type="text/event-stream"
        )

    return routes


async def stream(service: Service, session: Session) -> AsyncIterator[bytes]:
    """Give the events of a session until it ends."""
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    idle = service.settings.session_idle_timeout
    warn_before = min(WARN_BEFORE, idle / 4)
    current, warned_of = session, 0.0
    with service.live.follow(session.key, lambda kind, reason: heard.put_nowait((kind, reason))):
        yield b": listening\n\n"
        while True:
            ends_at = current.idle_ends_at(idle)
            look_at = ends_at if warned_of == ends_at else ends_at - warn_before
            wait = min(HEARTBEAT, max(SWEEP_EVERY, look_at - service.clock()))
            try:
                kind, reason = await asyncio.wait_for(heard.get(), wait)
            except TimeoutError:
                if service.clock() < look_at:
                    yield b": still here\n\n"
                    continue
                latest = await _latest(service, current)
                if latest is None:
                    continue  # `live` is about to say why
                current, ends_at = latest, latest.idle_ends_at(idle)
                left = ends_at - service.clock()
                if left <= warn_before and warned_of != ends_at:
                    warned_of = ends_at
                    yield event("session.expiring", {"expires_in": max(0, round(left))})
                continue
            if kind == "ended":
                yield event("session.ended", {"reason": reason})
                return
            yield event("session.refreshed", {})


async def _latest(service: Service, session: Session) -> Session | None:
    try:
        return await service.store.reload(session.key)  # others may have used it meanwhile
    except StoreUnavailableError:
        return session


def event(name: str, data: dict[str, object]) -> bytes:
    """Return one event of a stream (HTML, 9.2.6)."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
