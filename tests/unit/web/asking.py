"""The pages of forward-auth alone, in the process of the test, and who is signed in there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import httpx2
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from bff.errors import Problem, StoreUnavailableError
from bff.proxy.route_config import parse_routes
from bff.proxy.routes import RouteTable
from bff.settings import Settings
from bff.web import forward_auth
from bff.web.problems import problem_answer
from bff.web.service import Service
from tests.support.sessions import a_session

KEY = "a key that only the reverse proxy and we know"
OWN = "https://app.example.com"
PROXY, ELSEWHERE = "10.0.0.7", "192.0.2.66"
SESSION = a_session(claims={"roles": ["user"], "acr": "bronze"})
UP = "http://api.internal:9000"
ROUTES: dict[str, Any] = {
    "/api": UP,
    "/public": {"upstream": UP, "auth": "none"},
    "/maybe": {"upstream": UP, "auth": "optional"},
    "/machine": {"upstream": UP, "auth": "client"},
    "/orders": {"upstream": UP, "scopes": ["orders:read"]},
    "/write": {"upstream": UP, "scopes": ["orders:write"]},
    "/admin": {"upstream": UP, "claims": {"roles": "admin"}},
    "/gold": {"upstream": UP, "acr": "gold"},
}
TABLE = RouteTable(parse_routes(ROUTES))
OURS = {"Sec-Fetch-Site": "same-origin", "Cookie": "bff=alice"}
NAVIGATES = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


class Sessions:
    """Stands for `sessions.access`: `bff=alice` is signed in."""

    def __init__(self) -> None:
        self.session_of_alice: Any = SESSION
        self.away = False

    @property
    def cookie(self) -> Sessions:
        """Our cookie: this knows it as well."""
        return self

    def values(self, headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Return the values of our cookie that a request carries."""
        return [value for name, value in headers if name == b"cookie" and b"bff=" in value]

    def at_hand(self, cookies: Sequence[bytes]) -> None:
        """Return the session of a request where that takes no waiting: never, here."""

    async def session(self, headers: Sequence[tuple[bytes, bytes]]) -> Any:
        """Return the session of a request."""
        if self.away:
            raise StoreUnavailableError("refused")
        return self.session_of_alice if (b"cookie", b"bff=alice") in headers else None

    async def fresh(self, session: Any) -> Any:
        """Return it with a usable token."""
        return session

    client_proof_key = None

    async def client_token(self) -> str:
        """Return our own token."""
        return "our-own"


Ask = Callable[..., Awaitable[httpx2.Response]]


def application(sessions: Sessions, **values: Any) -> FastAPI:
    """Return the pages of forward-auth alone, with the door's way of telling what is wrong."""
    given: dict[str, Any] = {
        "base_url": OWN, "issuer": "https://login.example.com", "client_id": "x",
        "client_auth": "none", "redis_url": SecretStr("redis://redis"),
        "secret": (SecretStr("s" * 32),), "forward_auth_key": SecretStr(KEY),
        "trusted_proxies": (ip_network("10.0.0.0/8"),), **values,
    }  # fmt: skip
    settings = Settings.load(**given)
    service = cast("Service", SimpleNamespace(settings=settings, access=sessions))
    app = FastAPI(openapi_url=None)
    app.include_router(forward_auth.router(service, TABLE))

    @app.middleware("http")
    async def identify(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.request_id = "request-one"
        return await go_on(request)

    @app.exception_handler(Problem)
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_answer(
            error, request.headers, request_id="request-one", path="/", method="POST"
        )

    return app
