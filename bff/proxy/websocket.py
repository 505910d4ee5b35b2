"""Carries a WebSocket to its upstream: two handshakes, then bytes both ways.

Rules: the browser's handshake is admitted like any request; the upstream's comes first, so that its
refusal is the browser's, status and all, and so are its subprotocol and its compression; then the
two connections are one, frame by frame (`relay`); when the session ends, wherever that is, both
ends are closed, the browser's with 4401.

Flow: admission, handshake with the upstream, accept, relay until both sides are closed.

Source: RFC 6455 sections 4 and 7; contract, section 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext

import structlog
from starlette.types import Receive, Scope, Send

from bff.errors import Code, Problem
from bff.proxy.admission import LOGIN_URL, Admission
from bff.proxy.caller import Callers
from bff.proxy.headers import OwnCookies, response_headers
from bff.proxy.relay import Relay
from bff.proxy.route import Route
from bff.proxy.upstreams import Upstreams
from bff.proxy.websocket_client import RefusedError, UpstreamSocket
from bff.proxy.websocket_messages import MessageRelay
from bff.proxy.websocket_opening import Opener
from bff.sessions.access import Access
from bff.sessions.live import LiveSessions
from bff.websocket_server import TUNNEL

LOOK_SECONDS = 1.0

log = structlog.get_logger("bff.proxy")


class WebSocketProxy:
    """Serves WebSocket handshakes on routes.

    `max_message` is in bytes; `silence` the seconds after which an end that says nothing, although
    it is pinged, is taken for gone.
    """

    def __init__(
        self,
        access: Access,
        live: LiveSessions,
        upstreams: Upstreams,
        *,
        own_origin: str,
        allowed_origins: frozenset[str],
        own_cookies: Iterable[str],
        max_message: int,
        silence: float,
    ) -> None:
        self._access = access
        self._live = live
        self._admission = Admission(access, own_origin=own_origin, allowed_origins=allowed_origins)
        self._own_cookies = OwnCookies(own_cookies)
        callers = Callers(own_origin, self._own_cookies)
        self._opener = Opener(self._admission, upstreams, callers)
        self._max_message = max_message
        self._silence = silence
        self._relays: set[Relay] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(
        self, route: Route, judged: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one WebSocket on a route. Raises Problem before the handshake is answered.

        `judged` is the path as it was matched; what goes out is the scope's `raw_path`.
        """
        del judged
        grant = await self._admission.admit(route, "GET", scope["headers"])
        await receive()
        ending = _Ending()
        session = grant.session
        with nullcontext() if session is None else self._live.follow(session.key, ending.hear):
            if session is not None and await self._access.store.load(session.key) is None:
                raise Problem(Code.UNAUTHENTICATED, "session_ended", login_url=LOGIN_URL)
            try:
                upstream = await self._opener.open(route, grant, scope, receive)
            except RefusedError as refusal:
                await self._pass_on(route, refusal, send, with_session=session is not None)
                return
            if upstream is None:
                return
            if ending.ended:
                upstream.transport.abort()
                raise Problem(Code.UNAUTHENTICATED, "session_ended", login_url=LOGIN_URL)
            reason = "crashed"
            try:
                await _accept(upstream, send)
                if TUNNEL in scope["extensions"]:
                    reason = await self._relay(upstream, scope, ending)
                else:
                    reason = await self._carry(upstream, receive, send, ending)
            except BaseException:
                upstream.transport.abort()
                raise
            finally:
                log.info("websocket.closed", route=route.name, reason=reason)

    async def _relay(self, upstream: UpstreamSocket, scope: Scope, ending: _Ending) -> str:
        """Carry bytes until both connections are closed; return what ended it."""
        relay = Relay(
            max_message=self._max_message,
            deflate=upstream.agreement.deflate is not None,
            silence=self._silence,
        )
        relay.upstream.connection_made(upstream.transport)
        scope["extensions"][TUNNEL](relay.browser)
        upstream.transport.set_protocol(relay.upstream)
        upstream.transport.resume_reading()
        if upstream.transport.is_closing():
            relay.upstream.connection_lost(None)
        elif upstream.early:
            relay.upstream.data_received(upstream.early)
        ending.tell(relay)
        self._relays.add(relay)
        self._look_later()
        try:
            await relay.finished
        finally:
            self._relays.discard(relay)
        return relay.reason

    async def _carry(
        self, upstream: UpstreamSocket, receive: Receive, send: Send, ending: _Ending
    ) -> str:
        relay = MessageRelay(upstream, self._max_message)
        ending.tell(relay)
        await relay.run(receive, send)
        return relay.reason

    async def _pass_on(
        self, route: Route, refusal: RefusedError, send: Send, *, with_session: bool
    ) -> None:
        """Answer the handshake as the upstream did."""
        status = refusal.status
        fields = response_headers(
            refusal.fields,
            status,
            with_session=with_session,
            cookies=False,
            own_cookies=self._own_cookies,
            let=route.pass_response_headers,
        )
        fields = [field for field in fields if field[0] != b"content-length"]
        await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": refusal.body})

    def _look_later(self) -> None:
        if self._timer is None and self._relays:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Look for silent ends: one timer for all, and none while there is no WebSocket."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for relay in tuple(self._relays):
            relay.look(now)
        self._look_later()


class _Ending:
    """Hears of the end of a session, also before there is a relay to tell."""

    def __init__(self) -> None:
        self.ended = False
        self._relay: Relay | MessageRelay | None = None

    def hear(self, kind: str, _reason: str) -> None:
        if kind == "ended":
            self.ended = True
            if self._relay is not None:
                self._relay.end_session()

    def tell(self, relay: Relay | MessageRelay) -> None:
        self._relay = relay
        if self.ended:
            relay.end_session()


async def _accept(upstream: UpstreamSocket, send: Send) -> None:
    subprotocol, deflate = upstream.agreement
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": None if subprotocol is None else subprotocol.decode("ascii"),
            "headers": [] if deflate is None else [(b"sec-websocket-extensions", deflate)],
        }
    )
