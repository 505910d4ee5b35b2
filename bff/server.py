"""uvicorn's HTTP/1.1 protocol, made strict: what two servers could read in two ways is refused.

uvicorn's own takes heads of any size, a missing, doubled or foreign-looking `Host`, absolute-form
targets, and transfer codings other than chunked. RFC 9112 sections 3.2 and 6.1 say how a server
must answer these: 400, or 431 for a head that is too large, and the connection is closed.

Written for speed where every request passes: a request's fields are gone through once, and a
connection has one timer for its life instead of one for each request.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.exchange import Exchange
from bff.websocket_server import WebSocketProtocol

MAX_HEAD = 65_536
MAX_FIELDS = 128
GRACE_SECONDS = 25
KEEP_ALIVE_SECONDS = 75
_FIELD_OVERHEAD = 4
_LOOKED_AT = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
ENDLESS = "endless"  # set in a request's state: its answer has no end of its own


class _RefusedError(Exception):
    """Ends the parser's work; the protocol's `_status` says how it is answered."""


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the transport, and begin to watch for a client that says nothing."""
        super().connection_made(transport)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a request under way that its client has left."""
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to count the head."""
        super().on_message_begin()
        self._unparsed = self._trailer_size = 0
        self._first_piece = self._reading
        self._in_body = False
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Trailers, which are reported here too, never join them."""
        if not self._in_body:
            self.headers.append((name.lower(), value))
            return
        self._unparsed = 0
        self._trailer_size += len(name) + len(value) + _FIELD_OVERHEAD
        if self._trailer_size > MAX_HEAD:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _RefusedError

    def on_headers_complete(self) -> None:
        """Judge target, framing and size of the head before anything else happens; then begin."""
        self._judge_head()
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
        self.cycle = exchange = Exchange(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.server_state.default_headers,
            self.on_response_complete,
            expects_continue=self.expect_100_continue,
            keep_alive=scope["http_version"] != "1.0" and parser.should_keep_alive(),
        )
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self.app)
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
        """Read what the client sent; what the parser holds back unread has a limit too."""
        self._reading = len(data)
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
        if self.transport.is_closing() or not (exchange is None or exchange.response_complete):
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

    def _judge_head(self) -> None:
        """Raise _RefusedError for a head that is too large, or that could be read in two ways."""
        headers = self.headers
        target = self.url
        if len(headers) > MAX_FIELDS or (
            # A head cannot be larger than what it came in, which is mostly small.
            self._first_piece + self._unparsed > MAX_HEAD and _size(target, headers) > MAX_HEAD
        ):
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _RefusedError
        if not target.startswith(b"/") or b"#" in target:
            raise _RefusedError
        hosts = lengths = 0
        codings: list[bytes] = []
        for name, value in headers:
            if name in _LOOKED_AT:
                if name == b"host":
                    hosts += 1
                elif name == b"content-length":
                    lengths += 1
                elif name == b"transfer-encoding":
                    codings.append(value.strip().lower())
                elif value.lower() == b"100-continue":
                    self.expect_100_continue = True
        version = self.parser.get_http_version()
        if version != "1.1":
            if version != "1.0" or codings:
                raise _RefusedError
            self.scope["http_version"] = version
        elif not hosts:
            raise _RefusedError
        if hosts > 1 or lengths > 1 or (codings and (codings != [b"chunked"] or lengths)):
            raise _RefusedError

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
        status = self._status
        code = (
            "too_large" if status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE else "bad_request"
        )
        body = (
            f'{{"type":"about:blank","title":"{status.phrase}","status":{status.value},'
            f'"code":"{code}"}}'
        ).encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n"
            b"content-type: application/problem+json\r\ncache-control: no-store\r\n"
            b"x-content-type-options: nosniff\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status.value, status.phrase.encode(), len(body), body)
        )
        self.transport.close()


def _size(target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    fields = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in headers)
    return len(target) + fields


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
