"""Wires the dev provider together: routes, and how each kind of error is answered."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.demo.loopback import LoopbackOnly
from bff.demo.provider.authorization_request import AuthorizationError
from bff.demo.provider.authorize import answer_error, authorize, login
from bff.demo.provider.dev_pages import dev_logout, dev_state, rotate_keys, start
from bff.demo.provider.errors import InvalidClientError, OAuthError, PageError
from bff.demo.provider.keys import generate_key
from bff.demo.provider.logout import confirm_logout, end_session
from bff.demo.provider.memory import remembering
from bff.demo.provider.metadata import discovery, jwks
from bff.demo.provider.pages import NO_STORE, page
from bff.demo.provider.parameters import BadParametersError
from bff.demo.provider.state import ProviderState
from bff.demo.provider.token_endpoint import revoke, token
from bff.demo.provider.userinfo import userinfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from joserfc.jwk import RSAKey
    from starlette.requests import Request

    from bff.demo.provider.config import ProviderConfig

    Endpoint = Callable[[ProviderState, Request], Awaitable[Response]]

JSON_PATHS = frozenset({"/token", "/revoke", "/userinfo", "/dev/logout", "/dev/state"})


def random_token() -> str:
    """Return 256 random bits as base64url."""
    return secrets.token_urlsafe(32)


def create_provider(
    config: ProviderConfig,
    *,
    clock: Callable[[], float] = time.time,
    random_token: Callable[[], str] = random_token,
    make_key: Callable[[str], RSAKey] = generate_key,
    memory: Path | None = None,
) -> Starlette:
    """Make the dev provider: one process, everything in memory, loopback only.

    `clock` gives seconds since the epoch, `make_key` an RS256 key of the given name. `memory` is a
    file by which it knows after a restart what it knew before.
    """
    state = ProviderState(config, clock, random_token, make_key)
    routes = [
        _route(state, "/", start, "GET"),
        _route(state, "/.well-known/openid-configuration", discovery, "GET"),
        _route(state, "/jwks", jwks, "GET"),
        _route(state, "/authorize", authorize, "GET", "POST"),
        _route(state, "/login", login, "POST"),
        _route(state, "/token", token, "POST"),
        _route(state, "/revoke", revoke, "POST"),
        _route(state, "/userinfo", userinfo, "GET", "POST"),
        _route(state, "/logout", end_session, "GET", "POST"),
        _route(state, "/logout/confirm", confirm_logout, "POST"),
        _route(state, "/dev/state", dev_state, "GET"),
        _route(state, "/dev/logout", dev_logout, "POST"),
        _route(state, "/dev/rotate-keys", rotate_keys, "POST"),
    ]
    return Starlette(
        routes=routes,
        lifespan=remembering(state, memory),
        middleware=[Middleware(LoopbackOnly)],
        exception_handlers={
            AuthorizationError: partial(_authorization_error, state),
            OAuthError: _oauth_error,
            PageError: _page_error,
            BadParametersError: _bad_parameters,
            HTTPException: _http_exception,
        },
    )


def _route(state: ProviderState, path: str, endpoint: Endpoint, *methods: str) -> Route:
    return Route(path, partial(endpoint, state), methods=list(methods))


def _authorization_error(state: ProviderState, _request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthorizationError)
    return answer_error(state, error)


def _oauth_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OAuthError)
    headers = dict(NO_STORE)
    if isinstance(error, InvalidClientError):
        headers["WWW-Authenticate"] = 'Basic realm="dev provider"'
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, error.status, headers)


def _page_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return page("error", error.status, title=error.title, text=error.text)


def _bad_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadParametersError)
    if request.scope["path"] in JSON_PATHS:
        return _oauth_error(request, OAuthError("invalid_request", str(error), error.status))
    return page("error", error.status, title="Request refused", text=str(error))


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.scope["path"] in JSON_PATHS:
        body = {"error": "invalid_request", "error_description": error.detail}
        return JSONResponse(body, error.status_code, {**NO_STORE, **(error.headers or {})})
    text = "There is nothing under this address, or not for this kind of request."
    response = page("error", error.status_code, title=error.detail, text=text)
    response.headers.update(error.headers or {})
    return response
