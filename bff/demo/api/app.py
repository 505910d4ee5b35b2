"""Wires the demo API together."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from bff.demo.api.endpoints import admin_stats, echo, me, orders, public, slow
from bff.demo.api.guard import Guard
from bff.demo.api.problems import ApiError, problem
from bff.demo.api.streams import stream, websocket
from bff.demo.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

CODES = {404: "not_found", 405: "method_not_allowed"}


def create_api(issuer: str, audience: str, *, clock: Callable[[], float] = time.time) -> Starlette:
    """Make the demo API, which accepts tokens of `issuer` for `audience`; loopback only.

    `clock` gives seconds since the epoch.
    """
    guard = Guard(issuer, audience, clock)
    return Starlette(
        routes=[
            Route("/api/public", partial(public, guard), methods=["GET"]),
            Route("/api/me", partial(me, guard), methods=["GET"]),
            Route("/api/orders", partial(orders, guard), methods=["GET"]),
            Route("/api/admin/stats", partial(admin_stats, guard), methods=["GET"]),
            Route("/api/echo", partial(echo, guard), methods=["POST"]),
            Route("/api/slow", partial(slow, guard), methods=["GET"]),
            Route("/api/stream", partial(stream, guard), methods=["GET"]),
            WebSocketRoute("/api/ws", partial(websocket, guard)),
        ],
        middleware=[Middleware(LoopbackOnly)],
        exception_handlers={ApiError: _api_error, HTTPException: _http_exception},
    )


def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def _http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    answer = problem(error.status_code, code, "There is nothing here for this request.")
    answer.headers.update(error.headers or {})
    return answer
