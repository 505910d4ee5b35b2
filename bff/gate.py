"""The door: every request passes here, once, in this order.

1. It gets a request id and the client's address.
2. Its path is judged on the raw bytes; a dangerous one goes no further.
3. It goes to a page of the contract, to a route, or to the SPA; nothing under `/bff/` is proxied.
4. What is raised before an answer began becomes problem details or a page; the log has the reason.
5. The answer gets the headers that every answer has, and CORS for the origins that may call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff import logs
from bff.errors import Code, Problem
from bff.memo import Memo
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.routes import BadPath, Route, RouteTable, judge_path
from bff.web.problems import problem_answer
from bff.web.service import Service
from bff.web.spa import SpaFolder, for_dev_server, welcome

MAX_TARGET = 16_384
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
PREFLIGHT_HEADERS = "Content-Type, X-CSRF, Accept, If-Match, If-None-Match, Range, X-Request-Id"
PREFLIGHT_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
WS_POLICY_VIOLATION = 1008
IDS_AT_ONCE = 256  # random bytes are asked of the system for so many requests together
ID_BYTES = 16
REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
ASKED_BY_PROXY = b"/bff/auth/"  # what follows is the path that the browser asked a proxy for

log = structlog.get_logger("bff.request")
Proxy = Callable[[Any, bytes, Scope, Receive, Send], Awaitable[None]]
Enter = Callable[[Scope, Receive, Send, bytes | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where the door leads."""

    service: Service
    pages: ASGIApp
    routes: RouteTable
    http_proxy: Proxy
    websocket_proxy: Proxy
    spa: SpaFolder | None
    dev_server: Any | None
    trusted: TrustedProxies


class Arrival(NamedTuple):
    """A request that has come through the door, and what its answer will have.

    `additions` are the common headers; `ours` names those of them that it cannot have otherwise.
    """

    request_id: str
    origin: bytes | None
    additions: list[tuple[bytes, bytes]]
    ours: frozenset[bytes]

    def dress(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the fields of an answer with the common headers."""
        ours = self.ours
        return [field for field in headers if field[0] not in ours] + self.additions


class Gate:
    """The ASGI application, behind the lifespan."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        settings = rooms.service.settings
        self._origins = {origin.encode() for origin in settings.allowed_origins}
        self._common = [(b"x-content-type-options", b"nosniff")]
        if not settings.loopback_http:
            self._common.append((b"strict-transport-security", b"max-age=31536000"))
        self._ours = frozenset(name for name, _ in self._additions(b"", None)) - {b"vary"}
        self._ours_across = self._ours | _CORS
        self._ids: list[str] = []
        self._found = Memo(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket handshake."""
        await self.serve(self.arrive(scope), self._enter, scope, receive, send)

    def arrive(self, scope: Scope, request_id: str | None = None) -> Arrival:
        """Give a request its id and the client's address, and settle what its answer will have."""
        named, forwarded, origin = self._identify(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = request_id or named or self.new_id()
        peer = scope.get("client")
        state["client"] = self.client(peer[0] if peer else "", forwarded)
        return self.arrival(request_id, origin)

    def arrival(self, request_id: str, origin: bytes | None) -> Arrival:
        """Return what the answer to a request will have, which says to come from `origin`."""
        across = None if origin is None else self.across(origin)
        return Arrival(
            request_id,
            origin,
            self._additions(request_id.encode(), across),
            self._ours if across is None else self._ours_across,
        )

    def across(self, origin: bytes) -> bytes | None:
        """Return the origin, where its pages may read our answers though they are not ours."""
        return origin if origin in self._origins else None

    async def serve(
        self, arrival: Arrival, enter: Enter, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let a request that has arrived enter; answer what is raised."""
        logs.REQUEST_ID.set(arrival.request_id)
        answer = _Answer(send, arrival)
        try:
            await enter(scope, receive, answer, arrival.origin)
        except Problem as problem:
            await self._refuse(problem, scope, receive, answer)
        except Exception as error:
            log.exception("request.crashed", reason=type(error).__name__)
            if answer.complete:
                return
            if answer.started:
                raise
            await self._refuse(Problem(Code.INTERNAL, "crash"), scope, receive, answer)

    async def _enter(
        self, scope: Scope, receive: Receive, send: Send, origin: bytes | None
    ) -> None:
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        judged, route = self.find(raw_path, scope["query_string"])
        websocket = scope["type"] == "websocket"
        if not websocket:
            if scope["method"] in REFUSED_METHODS:
                raise Problem(Code.METHOD_NOT_ALLOWED, "method_refused")
            if scope["method"] == "OPTIONS" and origin in self._origins:
                await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
                await send({"type": "http.response.body", "body": b""})
                return
        if judged == b"/bff" or judged.startswith(b"/bff/"):
            plain = judged == raw_path and b"%" not in raw_path
            if websocket or not (plain or raw_path.startswith(ASKED_BY_PROXY)):
                raise Problem(Code.NOT_FOUND, "reserved_path")
            await self._rooms.pages(scope, receive, send)
            return
        proxy = self._rooms.websocket_proxy if websocket else self._rooms.http_proxy
        if route is not None:
            await proxy(route, judged, scope, receive, send)
        elif self._rooms.dev_server is not None:
            await proxy(self._rooms.dev_server, judged, for_dev_server(scope), receive, send)
        elif websocket:
            raise Problem(Code.NOT_FOUND, "no_route")
        else:
            await self._serve_spa(scope, receive, send, judged)

    def find(self, raw_path: bytes, query: bytes) -> tuple[bytes, Route | None]:
        """Return the path in its form for matching, and its route, if any. Raises Problem."""
        if len(raw_path) + len(query) > MAX_TARGET:
            raise Problem(Code.TOO_LARGE, "target_too_long", status=431)
        try:
            return self._found[raw_path]
        except BadPath as error:
            raise Problem(Code.BAD_PATH, str(error)) from None

    def _judge(self, raw_path: bytes) -> tuple[bytes, Route | None]:
        judged = judge_path(raw_path)
        return judged, self._rooms.routes.match(judged)

    async def _serve_spa(self, scope: Scope, receive: Receive, send: Send, judged: bytes) -> None:
        request = Request(scope, receive)
        if self._rooms.spa is not None:
            answer = await self._rooms.spa.answer(request, judged)
        elif judged == b"/" and scope["method"] in {"GET", "HEAD"}:
            session = await self._rooms.service.access.session(scope["headers"], slide=False)
            name = None if session is None else str(session.claims.get("name") or session.sub)
            answer = welcome(name)
        else:
            raise Problem(Code.NOT_FOUND, "no_route")
        await answer(scope, receive, send)

    async def _refuse(
        self, problem: Problem, scope: Scope, receive: Receive, send: _Answer
    ) -> None:
        level = log.error if problem.status >= 500 else log.info  # noqa: PLR2004
        level("request.refused", code=problem.code, reason=problem.reason, status=problem.status)
        method = scope.get("method", "GET")
        answer = problem_answer(
            problem,
            Headers(scope=scope),
            request_id=scope["state"]["request_id"],
            path=scope.get("raw_path", b"/").decode("ascii", "replace"),
            method=method,
        )
        if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": WS_POLICY_VIOLATION})

    def _identify(
        self, headers: list[tuple[bytes, bytes]]
    ) -> tuple[str | None, list[bytes], bytes | None]:
        request_id = None
        forwarded: list[bytes] = []
        origin = None
        for name, value in headers:
            if name in _LOOKED_AT:
                if name == b"x-forwarded-for":
                    forwarded.append(value)
                elif name == b"origin":
                    origin = value
                elif REQUEST_ID.fullmatch(value):
                    request_id = value.decode()
        return request_id, forwarded, origin

    def client(self, peer: str, forwarded_for: Sequence[bytes]) -> str:
        """Return the client's address, from the peer's and the `X-Forwarded-For` fields."""
        return self._rooms.trusted.client(peer, forwarded_for)

    def new_id(self) -> str:
        """Return the id of a request that brought none: 128 random bits."""
        if not self._ids:
            drawn = os.urandom(IDS_AT_ONCE * ID_BYTES).hex()
            self._ids = [drawn[at : at + 2 * ID_BYTES] for at in range(0, len(drawn), 2 * ID_BYTES)]
        return self._ids.pop()

    def _additions(self, request_id: bytes, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return what every answer has; `origin` is one that may read it from its own pages."""
        added = [*self._common, (b"x-request-id", request_id)]
        if origin is not None:
            added += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", b"X-Request-Id, Retry-After"),
            ]
        if self._origins:
            added.append((b"vary", b"Origin"))
        return added


_LOOKED_AT = frozenset({b"x-request-id", b"x-forwarded-for", b"origin"})
_CORS = frozenset(
    {b"access-control-allow-origin", b"access-control-allow-credentials",
     b"access-control-expose-headers"}
)  # fmt: skip
PREFLIGHT = [
    (b"access-control-allow-methods", PREFLIGHT_METHODS.encode()),
    (b"access-control-allow-headers", PREFLIGHT_HEADERS.encode()),
    (b"access-control-max-age", b"600"),
]


class _Answer:
    """The way out: adds the common headers to the head of an answer."""

    __slots__ = ("_arrival", "_send", "complete", "started")

    def __init__(self, send: Send, arrival: Arrival) -> None:
        self._send = send
        self._arrival = arrival
        self.started = False
        self.complete = False

    def __call__(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            self.complete = not message.get("more_body", False)
        elif kind in {"http.response.start", "websocket.http.response.start"}:
            self.started = True
            fields = self._arrival.dress(message["headers"])
            message = {"type": kind, "status": message["status"], "headers": fields}
        elif kind in {"websocket.accept", "websocket.close"}:
            self.started = True
        return self._send(message)
