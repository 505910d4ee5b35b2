"""Answers as they come off the wire: from bytes to a head that is judged and a body that is framed.

Rules: the parser is strict (no folded lines, no bare CR or LF, no lenient lengths); interim answers
are skipped; trailers are dropped; whatever is not body is bounded, heads and chunk headers alike;
a byte too many does not spoil the answer, which is whole, but tells that the two sides no longer
agree on where they are. Pure: bytes are fed in, nothing is sent or awaited.

Source: RFC 9112 sections 2.2, 5.2, 6 and 7.1, RFC 9110 sections 6.5 and 15.2.
"""

from __future__ import annotations

from typing import NoReturn

import httptools

from bff.proxy.response import UpstreamResponse
from bff.proxy.wire import (
    NO_CONTENT,
    Framing,
    UpstreamProtocolError,
    judge_head,
    leaves_doubt,
)

MAX_HEAD = 65_536
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding"})
_FIELD_OVERHEAD = 4
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200


class AnswerParser:
    """Parses one answer after another from one connection.

    `framing` is None until the head of the final answer is here; `complete` tells that its body is
    too; `reusable` that the connection may carry another exchange.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._spent = False
        self.complete = True

    def expect(self, method: bytes, response: UpstreamResponse) -> None:
        """Prepare for the answer to a request; its head and body go into `response`."""
        if self._spent:
            self._parser = httptools.HttpResponseParser(self)
            self._spent = False
        self._method = method
        self._response = response
        self._fault: UpstreamProtocolError | None = None
        self._informational = self._doubt = self._keep_alive = False
        self._unframed = 0
        self.framing: Framing | None = None
        self.complete = False

    @property
    def reusable(self) -> bool:
        """Whether the answer ended where both sides say it did, and the upstream goes on."""
        return self.complete and self._keep_alive and not self._doubt

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection. Raises UpstreamProtocolError."""
        self._unframed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._doubt = True
            if not self.complete:
                raise (self._fault or UpstreamProtocolError(f"not HTTP/1.1: {error}")) from None
        if self._unframed > MAX_HEAD and not self.complete:
            raise UpstreamProtocolError("a head, a trailer or a chunk header is too long")

    def feed_eof(self) -> bool:
        """Return whether the end of the connection is the proper end of the body."""
        if self.framing is not Framing.CLOSE:
            return False
        self.complete = True
        self._keep_alive = False
        return True

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Note a second answer to one request."""
        self._doubt = self._doubt or self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; trailers are dropped (RFC 9110 section 6.5.1)."""
        if self.framing is None:
            self._response.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Judge the head. This is the only moment at which the parser knows of keep-alive."""
        if self.complete:
            return
        headers = self._response.headers
        # A head cannot be larger than what it came in, which is mostly small.
        if self._unframed > MAX_HEAD and _size(headers) > MAX_HEAD:
            self._refuse(UpstreamProtocolError("the head is too long"))
        framing_fields = [field for field in headers if field[0] in _FRAMING_FIELDS]
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL:
            if status == _SWITCHING_PROTOCOLS:
                self._refuse(UpstreamProtocolError("the upstream switches protocols unasked"))
            self._informational = True
            self._doubt = self._doubt or leaves_doubt(framing_fields)
            return
        self._keep_alive = self._parser.should_keep_alive()
        try:
            framing = judge_head(
                self._method, status, self._parser.get_http_version(), framing_fields
            )
        except UpstreamProtocolError as error:
            self._refuse(error)
        self._response.status = status
        self.framing = framing
        self._unframed = 0
        if framing is Framing.NONE:
            self.complete = True
            if self._method == b"HEAD":
                self._spent = True
            elif status == NO_CONTENT:
                self._doubt = self._doubt or leaves_doubt(framing_fields)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, where there may be one."""
        if self.complete:
            self._doubt = True
        else:
            self._unframed = 0
            self._response.feed(body)

    def on_message_complete(self) -> None:
        """Note the end of the answer, or go on to the next after an interim one."""
        if self._informational:
            self._informational = False
            self._response.headers.clear()
        else:
            self.complete = True

    def _refuse(self, error: UpstreamProtocolError) -> NoReturn:
        self._fault = error
        raise error


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in headers)
