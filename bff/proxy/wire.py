"""How an upstream is spoken to: addresses, request heads, and the judgement of response heads.

Rules: framing is ours alone, so no caller can name `Content-Length` or `Transfer-Encoding`; names
and values go out as the bytes they are, or not at all; a response whose length is in any doubt is
refused (RFC 9112 section 6.3), since what one side takes for a body the other may take for the next
response. Pure: nothing here reads or writes a socket.

Source: RFC 9110 section 5 (fields) and 6.4 (content), RFC 9112 sections 4 to 7.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from bff.memo import Memo

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VISIBLE = bytes(range(0x21, 0x7F))
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade"})
_EXPECT_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
_USUAL = IDEMPOTENT | _EXPECT_BODY
# No field that came off a wire can hold one of these; each stands for a value that varies.
BLANKS = tuple(bytes((byte,)) for byte in range(0x01, 0x20) if byte not in b"\t\r\n")
_BLANK = re.compile(b"([" + b"".join(BLANKS) + b"])")
NO_CONTENT = 204
_NOT_MODIFIED = 304
_MAX_STATUS = 599


class UpstreamError(Exception):
    """An upstream did not give a whole, valid answer. The text is for the log only."""


class UpstreamUnavailableError(UpstreamError):
    """No connection, no TLS, or the connection was lost before the head of the answer."""


class UpstreamTimeoutError(UpstreamError):
    """No connection, no head of the answer, or no next byte of it, in the time allowed."""


class UpstreamUnreachableError(UpstreamUnavailableError):
    """No connection: nothing of the request was sent."""


class UpstreamConnectTimeoutError(UpstreamTimeoutError):
    """No connection in the time allowed: nothing of the request was sent."""


class UpstreamProtocolError(UpstreamError):
    """The upstream sent what HTTP/1.1 does not allow, or what it leaves open to two readings."""


class UpstreamTruncatedError(UpstreamError):
    """The answer ended before its end. What came of it must not look whole to anyone."""


class RequestBodyError(Exception):
    """The browser's body did not come as announced: too short, too long, or it stalled."""


class ClientGoneError(Exception):
    """The one who asked has left; nobody waits for the answer."""


class Address(NamedTuple):
    """Where an upstream listens. `host` is a name or an IP address without brackets.

    Connections `with_certificate` show ours, so they are others than those without.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    with_certificate: bool = False

    @property
    def authority(self) -> bytes:
        """The value of the `Host` field (RFC 9110 section 7.2): no port where it is the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return (host if self.port == default else f"{host}:{self.port}").encode("ascii")


class RequestHead(NamedTuple):
    """A request without its body; `target` is the path and query as they go on the wire."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]


class Framing(enum.Enum):
    """How the end of a response body is known (RFC 9112 section 6.3)."""

    NONE = "there is none"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "the connection ends"


def encode_head(head: RequestHead, length: int | None, *, chunked: bool = False) -> bytes:
    """Return the bytes of a request head, framed by us.

    `length` is that of the body; None stands for no body, or for one that goes out chunked.
    Raises ValueError for a head that would not be read as what it says (RFC 9112 section 11).
    """
    method, target, headers = head
    if method not in _USUAL and (
        not method or method.translate(None, TOKEN) or method == b"CONNECT"
    ):
        raise ValueError("the method cannot be sent to an upstream")
    lines = [_request_line(method, target)]
    for name, value in headers:
        lines += (_PREFIXES[name], value, b"\r\n")
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n\r\n")
    elif length is not None:
        lines.append(b"content-length: %d\r\n\r\n" % length)
    elif method in _EXPECT_BODY:
        lines.append(b"content-length: 0\r\n\r\n")
    else:
        lines.append(b"\r\n")
    _judge_values(b"".join([value for _, value in headers]))
    return b"".join(lines)


class Form:
    """A request head with blanks: what is left of many requests when their own is taken out.

    The blanks are the target, and every value that is one of `BLANKS` in the head that it is made
    of, once at most. Only for methods without body.
    """

    __slots__ = ("_blanks", "_first", "_method", "_pieces")

    def __init__(self, head: RequestHead) -> None:
        """Raises ValueError for a head that cannot be sent, or that has a blank twice."""
        self._method = head.method
        fields = encode_head(head, None).partition(b"\r\n")[2]
        self._first, *rest = _BLANK.split(fields)
        self._blanks = [BLANKS.index(blank) for blank in rest[::2]]
        self._pieces = rest[1::2]
        if len(set(self._blanks)) < len(self._blanks):
            raise ValueError("the head has a blank twice")

    def filled(self, target: bytes, values: Sequence[bytes]) -> bytes:
        """Return what `encode_head` makes of the head without blanks. Raises ValueError.

        `values` are for all `BLANKS`, in their order, also for those that the head has not.
        """
        _judge_values(b"".join(values))
        parts = [_request_line(self._method, target), self._first]
        for blank, piece in zip(self._blanks, self._pieces, strict=True):
            parts += (values[blank], piece)
        return b"".join(parts)


def _request_line(method: bytes, target: bytes) -> bytes:
    if not target or target.translate(None, VISIBLE):
        raise ValueError("the request target holds a byte that no target may have")
    return b"%b %b HTTP/1.1\r\n" % (method, target)


def _judge_values(values: bytes) -> None:
    if b"\n" in values or b"\r" in values or b"\0" in values:
        raise ValueError("a field value holds CR, LF or NUL")


def _prefix(name: bytes) -> bytes:
    if not name or name.translate(None, TOKEN):
        raise ValueError("a field name is not a token")
    if name.lower() in _FRAMING:
        raise ValueError(f"{name.decode('ascii')} is the client's own to say")
    return name + b": "


_PREFIXES = Memo(_prefix)


def judge_head(
    method: bytes, status: int, version: str, framing_fields: Iterable[tuple[bytes, bytes]]
) -> Framing:
    """Return how the body of a final response ends (RFC 9112 section 6.3).

    `framing_fields` are its `Content-Length` and `Transfer-Encoding` fields, names in lower case.
    Raises UpstreamProtocolError wherever two readers could see different ends.
    """
    if version not in {"1.1", "1.0"}:
        raise UpstreamProtocolError("the answer is not HTTP/1.0 or HTTP/1.1")
    if status > _MAX_STATUS:
        raise UpstreamProtocolError("the status code is beyond 599")
    lengths = [value for name, value in framing_fields if name == b"content-length"]
    codings = [value for name, value in framing_fields if name == b"transfer-encoding"]
    if lengths and codings:
        raise UpstreamProtocolError("Content-Length and Transfer-Encoding stand together")
    if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
        raise UpstreamProtocolError("there is no single valid Content-Length")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise UpstreamProtocolError("Transfer-Encoding is not exactly chunked")
    if codings and version == "1.0":
        raise UpstreamProtocolError("Transfer-Encoding stands in an HTTP/1.0 answer")
    if method == b"HEAD" or status in {NO_CONTENT, _NOT_MODIFIED}:
        return Framing.NONE
    if codings:
        return Framing.CHUNKED
    return Framing.LENGTH if lengths else Framing.CLOSE


def leaves_doubt(framing_fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a 1xx or 204 answer announces a body, so that its sender may yet send one.

    Neither may carry a framing field (RFC 9110 section 8.6, RFC 9112 section 6.1).
    """
    return any(value != b"0" for _, value in framing_fields)
