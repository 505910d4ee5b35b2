"""A tiny resource server that believes nothing: every call's token is verified and recorded.

Rules: RFC 9068 section 4 (JWT access tokens): type, signature by the provider's published keys,
issuer, audience, expiry, scope. A token that fails is 401 `invalid_token`, a missing scope 403.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import uvicorn
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.requests import Request
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

SCOPE = "orders:read"


Api = TypeVar("Api", bound="OrdersApi")


@dataclass(slots=True)
class OrdersApi:
    """The API at `url`. Set `issuer` before the first call; `tokens` are those that were good."""

    url: str
    issuer: str = ""
    tokens: list[str] = field(default_factory=list[str])
    cookies: list[str] = field(default_factory=list[str])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self.answer(Request(scope, receive))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> JSONResponse:
        """Say who called, or why that can't be believed."""
        self.cookies.extend(request.headers.getlist("cookie"))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = await self.verify(token) if scheme == "Bearer" else None
        except JoseError as error:
            return refusal(401, f'Bearer error="invalid_token", error_description="{error.error}"')
        if claims is None:
            return refusal(401, "Bearer")
        if SCOPE not in claims["scope"].split():
            return refusal(403, f'Bearer error="insufficient_scope", scope="{SCOPE}"')
        self.tokens.append(token)
        return JSONResponse(
            {"path": request.url.path, "sub": claims["sub"], "roles": claims.get("roles")}
        )

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims of a good token. Raises JoseError."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            metadata = (await client.get(f"{self.issuer}/.well-known/openid-configuration")).json()
            keys = KeySet.import_key_set((await client.get(metadata["jwks_uri"])).json())
        decoded = jwt.decode(token, keys, algorithms=["RS256"])
        registry = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.url},
            exp={"essential": True},
            scope={"essential": True},
        )
        registry.validate(decoded.claims)
        if decoded.header.get("typ") != "at+jwt":
            raise JoseError("not an access token")
        return decoded.claims


def orders_api() -> AbstractAsyncContextManager[OrdersApi]:
    """The API, listening on a free loopback port."""
    return serving(OrdersApi)


@asynccontextmanager
async def serving(make: Callable[[str], Api]) -> AsyncGenerator[Api]:
    """An API of some kind, listening on a free loopback port; `make` gets its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    api = make(f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(api, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield api
    finally:
        server.should_exit = True
        await serving
        listener.close()


def refusal(status: int, challenge: str) -> JSONResponse:
    """An error answer with its challenge (RFC 6750 section 3)."""
    return JSONResponse({"error": status}, status, {"WWW-Authenticate": challenge})
