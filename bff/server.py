"""uvicorn's HTTP/1.1 protocol, made strict: what two servers could read in two ways is refused.

uvicorn's own takes heads of any size, a missing, doubled or foreign-looking `Host`, absolute-form
targets, and transfer codings other than chunked. RFC 9112 sections 3.2 and 6.1 say how a server
must answer these: 400, or 431 for a head that is too large, and the connection is closed.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD = 65_536
MAX_FIELDS = 128
GRACE_SECONDS = 25
KEEP_ALIVE_SECONDS = 75
MAX_MESSAGE = 16_777_216
ENDLESS = "endless"  # set in a request's state: its answer has no end of its own


class _RefusedError(Exception):
    """Ends the parser's work; the protocol's `_status` says how it is answered."""


class StrictHttpProtocol(HttpToolsProtocol):
    """One connection from a client."""

    _head_size = 0
    _unparsed = 0
    _in_body = False
    _status = HTTPStatus.BAD_REQUEST

    def on_message_begin(self) -> None:
        """Begin to count the head."""
        super().on_message_begin()
        self._head_size = self._unparsed = 0
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        """Count a piece of the request target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Trailers, which are reported here too, never join them."""
        self._count(len(name) + len(value) + 4)
        if self._in_body:
            return
        super().on_header(name, value)
        if len(self.headers) > MAX_FIELDS:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _RefusedError

    def on_headers_complete(self) -> None:
        """Judge target and framing before anything else happens."""
        target = self.url
        if not target.startswith(b"/") or b"#" in target:
            raise _RefusedError
        hosts = lengths = 0
        codings: list[bytes] = []
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                codings.append(value.strip().lower())
        assert self.parser is not None
        version = self.parser.get_http_version()
        old = version == "1.0"
        if not old and version != "1.1":
            raise _RefusedError
        if hosts > 1 or (hosts == 0 and not old) or lengths > 1:
            raise _RefusedError
        if codings and (codings != [b"chunked"] or lengths or old):
            raise _RefusedError
        self._in_body = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that what comes next is another request."""
        self._in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read what the client sent; what the parser holds back unread has a limit too."""
        self._unparsed += len(data)
        super().data_received(data)
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

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read, or what a callback refused inside it."""
        del msg
        self._refuse()

    def _current(self) -> RequestResponseCycle | None:
        """Return the exchange under way or just over; uvicorn's annotation forgets the first."""
        return self.cycle

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
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
        "ws": "websockets-sansio",
        "ws_max_size": MAX_MESSAGE,
    }
