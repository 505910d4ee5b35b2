"""uvicorn's HTTP/1.1 protocol, made strict: what two servers could read in two ways is refused.

What is refused, and why, `request_head` says; trailers have the same limit.

Written for speed where every request passes: a request's fields are gone through once, and a
connection has one timer for its life instead of one for each request. An application may have a
quicker way for requests that it knows (`Shortcut`): it is asked before what came is read.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.exchange import BYTES, Exchange, Flight, Shortcut
from bff.request_head import FIELD_OVERHEAD, MAX_HEAD, Facts, RefusedError, judge, refusal
from bff.websocket_server import WebSocketProtocol

GRACE_SECONDS = 25
KEEP_ALIVE_SECONDS = 75
ENDLESS = "endless"  # set in a request's state: its answer has no end of its own
_HEAD_END = b"\r\n\r\n"


class StrictHttpProtocol(HttpToolsProtocol):
    """One connection from a client."""

    app: Any  # what uvicorn's annotations leave open is settled once the configuration is loaded
    parser: Any
    _reading = 0  # size of the piece that is being read
    _unparsed = 0  # bytes that came after what was understood last: a head, a piece of a body
    _first_piece = 0  # size of the piece that a head began in
    _trailer_size = 0
    _in_body = False
    _since = 0.0  # when the connection fell idle, or the head that is coming began
    _status = HTTPStatus.BAD_REQUEST
    _express: Shortcut | None = None
    _flight: Flight | None = None  # a request that is under way on the quicker way
    _taken_over: Any = None  # the application that goes on with the request that is read now
    _between = True  # nothing has come yet of the next request
    _whole: bytes | None = None  # what is being read, if it may be one head and nothing else

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the transport, and begin to watch for a client that says nothing."""
        super().connection_made(transport)
        self._express = getattr(self.app, "express", None)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a request under way that its client has left."""
        self._unset_keepalive_if_required()
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.drop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to count the head."""
        super().on_message_begin()
        self._unparsed = self._trailer_size = 0
        self._first_piece = self._reading
        self._in_body = self._between = False
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Trailers, which are reported here too, never join them."""
        if not self._in_body:
            self.headers.append((name.lower(), value))
            return
        self._unparsed = 0
        self._trailer_size += len(name) + len(value) + FIELD_OVERHEAD
        if self._trailer_size > MAX_HEAD:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise RefusedError(self._status)

    def on_headers_complete(self) -> None:
        """Judge target, framing and size of the head before anything else happens; then begin."""
        facts = self._judge_head()
        self._in_body = True
        self._unparsed = 0
        parser = self.parser
        scope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        if parser.should_upgrade() and self._should_upgrade():
            return
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        before = self._current()
        keep_alive = scope["http_version"] != "1.0" and parser.should_keep_alive()
        if (
            self._whole is not None
            and facts.bare
            and keep_alive
            and not (facts.expects_continue or parser.should_upgrade())
        ):
            cast("dict[str, Any]", scope)["state"][BYTES] = self._whole
        self.cycle = exchange = Exchange(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.server_state.default_headers,
            self.on_response_complete,
            expects_continue=facts.expects_continue,
            keep_alive=keep_alive,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self._taken_over or self.app)
        else:
            # A pipelined request waits for its turn, and what follows it for this one to begin.
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that what comes next is another request."""
        self._in_body = False
        self._between = True
        self._unparsed = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the request that waits, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._rest()

    def data_received(self, data: bytes) -> None:
        """Let what the client sent be taken as a whole, or read it."""
        if self._flight is not None:
            # What comes next waits for its turn, which is settled on the ordinary way.
            self._flight.land()
        elif self._between and self._express is not None:
            exchange = self._current()
            if exchange is None or exchange.response_complete:
                self._flight = self._express(self, data)
                if self._flight is not None:
                    return
        self._read(data)

    # What a flight needs of its connection

    @property
    def reads(self) -> bool:
        """Whether the client takes what it is sent."""
        return not self.flow.write_paused

    def answered(self, answer: bytes) -> None:
        """Send the whole answer to the request that was taken."""
        self._flight = None
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._rest()

    def hand_over(self, data: bytes, app: Any) -> Exchange:
        """Read the request that was taken; `app`, an ASGI application, goes on with it."""
        self._flight = None
        self._taken_over = app
        self._read(data)
        self._taken_over = None
        return cast("Exchange", self.cycle)

    def _read(self, data: bytes) -> None:
        """Parse what the client sent; what the parser holds back unread has a limit too."""
        self._reading = len(data)
        self._whole = data if self._between and data.find(_HEAD_END) == len(data) - 4 else None
        self._unparsed += self._reading
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse()
            return
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._unset_keepalive_if_required()
                cycle = self._current()
                if cycle is not None and not cycle.response_complete:
                    # An answer is under way, or owed: the handshake's would be taken for it.
                    self.transport.close()
                    return
                self.handle_websocket_upgrade()
                if early := data[upgrade.args[0] :]:
                    cast("WebSocketProtocol", self.transport.get_protocol()).data_received(early)
                return
            self._unsupported_upgrade_warning()
        if self._unparsed > MAX_HEAD:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse()

    def shutdown(self) -> None:
        """Begin to stop: requests finish, but a stream of events would go on for ever."""
        if self._flight is not None:
            self._flight.land()
        cycle = self._current()
        if (
            cycle is not None
            and cycle.scope.get("state", {}).get(ENDLESS)
            and not cycle.response_complete
        ):
            self.transport.close()
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle, or within one head, for too long.

        There is one timer a connection: where it finds something new, it is set again.
        """
        self.timeout_keep_alive_task = None
        exchange = self._current()
        under_way = self._flight is not None or not (exchange is None or exchange.response_complete)
        if under_way or self.transport.is_closing():
            return
        left = self._since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wake_in(left)
        else:
            self.transport.close()

    def _rest(self) -> None:
        """Begin to wait for a request."""
        self._since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wake_in(self.timeout_keep_alive)

    def _wake_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _current(self) -> Exchange | None:
        """Return the exchange under way or just over; uvicorn's annotation forgets the first."""
        return cast("Exchange | None", self.cycle)

    def _judge_head(self) -> Facts:
        version = self.parser.get_http_version()
        if version != "1.1":
            self.scope["http_version"] = version
        try:
            return judge(
                self.url, self.headers, version, came_in=self._first_piece + self._unparsed
            )
        except RefusedError as refused:
            self._status = refused.status
            raise

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        cycle = self._current()
        if not (cycle is None or cycle.response_complete) and (
            cycle.response_started or not self._in_body or self.pipeline
        ):
            # An answer is under way, or owed to an earlier request: ours would be taken for it.
            self.transport.close()
            return
        self.transport.write(refusal(self._status))
        self.transport.close()


def server_options() -> dict[str, Any]:
    """Return the options of uvicorn that the service needs, for `uvicorn.Config` or `run`."""
    return {
        "http": StrictHttpProtocol,
        "loop": "auto",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "ws": WebSocketProtocol,
    }
