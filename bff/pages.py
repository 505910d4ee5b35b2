"""The pages of the contract as one FastAPI application; everything else never comes here.

The pages of a sign-in are reached without its layers: they take nothing but the request, and are in
the application too, which describes them and answers other methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

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

Page = Callable[[Request], Awaitable[Response]]
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

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        pages.add_exception_handler(kind, _refuse)
    return pages


class Pages:
    """The pages as they are served: those of a sign-in directly, the others by the application."""

    def __init__(self, service: Service, routes: RouteTable = NO_ROUTES) -> None:
        self._application: ASGIApp = create_pages(service, routes)
        self._direct: dict[str, Page] = {
            route.path: route.endpoint
            for room in (login, callback)
            for route in room.router(service).routes
            if isinstance(route, APIRoute) and "GET" in (route.methods or ())
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. What is no Problem is the caller's to answer."""
        endpoint = self._direct.get(scope["path"]) if scope["method"] == "GET" else None
        if endpoint is None:
            await self._application(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await endpoint(request)
        except Problem as problem:
            answer = await _refuse(request, problem)
        await answer(scope, receive, send)


async def _refuse(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else _translated(error)
    log_level = log.error if problem.status >= 500 else log.info  # noqa: PLR2004
    log_level("request.refused", code=problem.code, reason=problem.reason, status=problem.status)
    return problem_answer(
        problem,
        request.headers,
        request_id=request.state.request_id,
        path="/",
        method="POST",
    )


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
