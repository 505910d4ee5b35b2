"""The head of an answer to a client: from fields to bytes, and how its body is framed. Pure.

Rules: as uvicorn's. A field name that is none, or a control character in a value, is an error of
the application; a body is exactly as long as its `Content-Length`, or chunked where there is none;
HEAD, 204 and 304 have no body. A client of HTTP/1.0 knows no chunks: a body without length ends
with its connection.

Source: RFC 9110 sections 5.5, 6.4 and 8.6; RFC 9112 sections 6, 7.1 and 9.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE

from bff.memo import Memo

Fields = Iterable[tuple[bytes, bytes]]
_FRAMING = frozenset({b"content-length: ", b"transfer-encoding: ", b"connection: "})
_BODILESS = frozenset({204, 304})
_LINE_END = b"\r\n"
_IN_VALUES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))  # noqa: PLR2004


class AnswerHead(NamedTuple):
    """A head as it goes out. `length` is that of the body; None where nothing tells it ahead.

    A body without length is `chunked`, or ends with the connection (`until_closed`). `keep_alive`
    tells that the connection goes on afterwards.
    """

    encoded: bytes
    length: int | None
    chunked: bool
    until_closed: bool
    keep_alive: bool

    def with_body(self, body: bytes) -> bytes:
        """Return the whole answer. Raises RuntimeError for a body of another length."""
        if self.chunked:
            end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            return self.encoded + end
        if len(body) != (self.length or 0):
            raise RuntimeError("the answer is longer or shorter than its Content-Length")
        return self.encoded + body


def encode_answer(
    status: int, *fields: Fields, head_only: bool, knows_chunks: bool, keep_alive: bool
) -> AnswerHead:
    """Return the head of an answer with fields of several kinds, in their order.

    `head_only` tells that the request was a HEAD; `knows_chunks` that its client speaks HTTP/1.1;
    `keep_alive` that the connection may go on. Raises RuntimeError for a head that cannot be sent.
    """
    pieces = [STATUS_LINE[status]]
    lines = 1
    length: int | None = None
    chunked = closes = until_closed = False
    for group in fields:
        for name, value in group:
            prefix = _PREFIXES[name]
            pieces += (prefix, value, _LINE_END)
            lines += 1
            if prefix in _FRAMING:
                if prefix == b"content-length: ":
                    length = int(value) if length is None else length
                elif prefix == b"transfer-encoding: ":
                    chunked = chunked or value.lower() == b"chunked"
                elif b"close" in (token.strip().lower() for token in value.split(b",")):
                    keep_alive = False
                    closes = True
    if length is None and not chunked and not head_only and status not in _BODILESS:
        if knows_chunks:
            chunked = True
            pieces.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        else:
            until_closed = True
            keep_alive = False
    if not keep_alive and not closes:
        pieces.append(b"connection: close\r\n")
        lines += 1
    pieces.append(_LINE_END)
    head = b"".join(pieces)
    # What no value may hold is looked for once, in all of them: only our line ends are left.
    if head.translate(None, _IN_VALUES) != _LINE_END * (lines + 1):
        raise RuntimeError("a header value holds a control character")
    return AnswerHead(head, None if chunked else length, chunked, until_closed, keep_alive)


def encode_fields(fields: Fields) -> bytes:
    """Return the lines of fields that the server itself puts first. Raises RuntimeError."""
    return b"".join(_PREFIXES[name] + value + _LINE_END for name, value in fields)


def _prefix(name: bytes) -> bytes:
    """Return how a line of this field begins. Raises RuntimeError for a name that is none."""
    if not name or HEADER_RE.search(name):
        raise RuntimeError("a header name is not a token")
    return name.lower() + b": "


_PREFIXES = Memo(_prefix)
