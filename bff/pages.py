"""The pages of the contract as one FastAPI application; everything else never comes here."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from bff.errors import Code, Problem
from bff.proxy.routes import RouteTable
from bff.web import (
    backchannel,
    callback,
    events,
    forward_auth,
    health,
    initiate,
    login,
    logout,
    my_sessions,
    session,
    static,
)
from bff.web.problems import problem_answer
from bff.web.service import Service

NO_ROUTES = RouteTable(())

log = structlog.get_logger("bff.request")


def create_pages(service: Service, routes: RouteTable = NO_ROUTES) -> FastAPI:
    """Return the pages of the contract. No API documentation is served (section 3)."""
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for room in (
        login, callback, logout, backchannel, session, my_sessions, events, health, initiate,
        static,
    ):  # fmt: skip
        pages.include_router(room.router(service))
    pages.include_router(forward_auth.router(service, routes))

    async def refuse(request: Request, error: Exception) -> Response:
        problem = error if isinstance(error, Problem) else _translated(error)
        log_level = log.error if problem.status >= 500 else log.info  # noqa: PLR2004
        log_level(
            "request.refused", code=problem.code, reason=problem.reason, status=problem.status
        )
        return problem_answer(
            problem,
            request.headers,
            request_id=request.state.request_id,
            path="/",
            method="POST",
        )

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        pages.add_exception_handler(kind, refuse)
    return pages


def _translated(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        if error.status_code == 404:  # noqa: PLR2004
            return Problem(Code.NOT_FOUND, "no_such_page")
        if error.status_code == 405:  # noqa: PLR2004
            allow = (error.headers or {}).get("Allow", "GET")
            return Problem(Code.METHOD_NOT_ALLOWED, "method", headers=(("Allow", allow),))
    if isinstance(error, HTTPException | RequestValidationError):
        return Problem(Code.BAD_REQUEST, "malformed_request")
    return Problem(Code.INTERNAL, "crash")
