"""Carries a WebSocket to its upstream: two handshakes, then messages both ways.

Rules: the browser's handshake is admitted like any request; the upstream's comes first, so that its
refusal is the browser's, status and all; whole messages pass, text as text and binary as binary;
one end's close code becomes the other's; when the session ends, wherever that is, both ends are
closed, the browser's with 4401.

Flow: admission, handshake with the upstream, accept, pump until one side closes.

Source: RFC 6455 sections 5.5.1, 7.1 and 7.4; contract, section 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext

import structlog
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from bff.errors import Code, Problem
from bff.proxy.admission import LOGIN_URL, Admission, Grant
from bff.proxy.caller import Callers
from bff.proxy.headers import OwnCookies, request_headers, response_headers
from bff.proxy.route import Route, target
from bff.proxy.websocket_client import connect
from bff.proxy.wire import TOKEN, UpstreamError, UpstreamTimeoutError
from bff.sessions.access import Access
from bff.sessions.live import LiveSessions

SESSION_ENDED = (4401, "session ended")
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
BAD_GATEWAY = 1014
_NEVER_SENT = frozenset({NO_STATUS, ABNORMAL, 1015})

log = structlog.get_logger("bff.proxy")


class WebSocketProxy:
    """Serves WebSocket handshakes on routes."""

    def __init__(
        self,
        access: Access,
        live: LiveSessions,
        *,
        own_origin: str,
        allowed_origins: frozenset[str],
        own_cookies: Iterable[str],
    ) -> None:
        self._access = access
        self._live = live
        self._admission = Admission(access, own_origin=own_origin, allowed_origins=allowed_origins)
        self._callers = Callers(own_origin)
        self._own_cookies = OwnCookies(own_cookies)

    async def __call__(
        self, route: Route, judged: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one WebSocket on a route. Raises Problem before the handshake is answered.

        `judged` is the path as it was matched; what goes out is the scope's `raw_path`.
        """
        del judged
        grant = await self._admission.admit(route, "GET", scope["headers"])
        await receive()
        session = grant.session
        with nullcontext() if session is None else self._live.watch(session.key) as ended:
            if session is not None and await self._access.store.load(session.key) is None:
                raise Problem(Code.UNAUTHENTICATED, "session_ended", login_url=LOGIN_URL)
            try:
                upstream = await self._connect(route, grant, scope)
            except InvalidStatus as refusal:
                await self._pass_on(refusal, send, with_session=session is not None)
                return
            try:
                await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
                await _carry(upstream, receive, send, ended)
            finally:
                await upstream.close(GOING_AWAY)

    async def _connect(self, route: Route, grant: Grant, scope: Scope) -> ClientConnection:
        fields = request_headers(
            scope["headers"],
            self._callers.of(route, scope),
            authorization=grant.authorization,
            own_cookies=self._own_cookies,
            keep_cookies=route.cookies,
        )
        try:
            return await connect(
                route.upstream,
                target(route, scope["raw_path"], scope["query_string"]),
                fields,
                _subprotocols(scope),
                timeout=route.timeout,
            )
        except UpstreamError as error:
            kind = type(error).__name__
            log.warning("upstream.failed", route=route.name, kind=kind, detail=str(error))
            if isinstance(error, UpstreamTimeoutError):
                raise Problem(Code.UPSTREAM_TIMEOUT, "upstream_slow") from None
            raise Problem(Code.UPSTREAM_UNAVAILABLE, "upstream_failed") from None

    async def _pass_on(self, refusal: InvalidStatus, send: Send, *, with_session: bool) -> None:
        """Answer the handshake as the upstream did."""
        answer = refusal.response
        fields = response_headers(
            [
                (name.lower().encode("ascii"), value.encode("latin-1"))
                for name, value in answer.headers.raw_items()
            ],
            answer.status_code,
            with_session=with_session,
            cookies=False,
            own_cookies=self._own_cookies,
        )
        fields = [field for field in fields if field[0] != b"content-length"]
        await send(
            {
                "type": "websocket.http.response.start",
                "status": answer.status_code,
                "headers": fields,
            }
        )
        await send({"type": "websocket.http.response.body", "body": bytes(answer.body or b"")})


async def _carry(
    upstream: ClientConnection, receive: Receive, send: Send, ended: asyncio.Event | None
) -> None:
    """Pass messages both ways until a side closes, or the session ends; then close the other."""
    up = asyncio.create_task(_to_upstream(upstream, receive))
    down = asyncio.create_task(_to_browser(upstream, send))
    over = asyncio.create_task((ended or asyncio.Event()).wait())
    try:
        await asyncio.wait((up, down, over), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down, over):
            task.cancel()
        left, *_ = await asyncio.gather(up, down, over, return_exceptions=True)
    if isinstance(left, tuple):
        code, reason = left
        await upstream.close(NORMAL if code in _NEVER_SENT else code, reason)
        return
    code, reason = SESSION_ENDED if ended is not None and ended.is_set() else _closing(upstream)
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _to_upstream(upstream: ClientConnection, receive: Receive) -> tuple[int, str]:
    """Pass the browser's messages on; return how it closed."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return message.get("code", NO_STATUS), message.get("reason") or ""
        text = message.get("text")
        await upstream.send(message["bytes"] if text is None else text)


async def _to_browser(upstream: ClientConnection, send: Send) -> None:
    """Pass the upstream's messages on until it closes."""
    while True:
        data = await upstream.recv()
        if isinstance(data, str):
            await send({"type": "websocket.send", "text": data})
        else:
            await send({"type": "websocket.send", "bytes": data})


def _closing(upstream: ClientConnection) -> tuple[int, str]:
    """Return how the browser's side is closed, after the upstream's is."""
    state = upstream.protocol
    close = state.close_rcvd or state.close_sent
    if close is None:
        return BAD_GATEWAY, "the connection was lost"
    return (NORMAL if close.code in _NEVER_SENT else close.code), close.reason


def _subprotocols(scope: Scope) -> list[str]:
    offered: list[str] = [name for name in scope.get("subprotocols", ()) if name]
    if any(name.encode("latin-1", "replace").translate(None, TOKEN) for name in offered):
        raise Problem(Code.BAD_REQUEST, "malformed_subprotocol")
    return offered
