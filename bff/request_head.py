"""The head of a client's request: refused where it is too large or could be read in two ways. Pure.

uvicorn takes heads of any size, a missing, doubled or foreign-looking `Host`, absolute-form
targets, and transfer codings other than chunked. RFC 9112 says how a server must answer these: 400,
or 431 for a head that is too large (RFC 6585), and the connection is closed.

Source: RFC 9112 sections 3.2 and 6.1; RFC 6585 section 5.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD = 65_536
MAX_FIELDS = 128
FIELD_OVERHEAD = 4
_LOOKED_AT = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


class RefusedError(Exception):
    """A head that is not taken; `status` says how it is answered."""

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(status.phrase)
        self.status = status


class Facts(NamedTuple):
    """What was found in a head: `bare` tells that it is of HTTP/1.1, and no body comes after it."""

    expects_continue: bool
    bare: bool


def judge(
    target: bytes, headers: list[tuple[bytes, bytes]], version: str, *, came_in: int
) -> Facts:
    """Return what matters of a head; `headers` have lower-case names.

    `came_in` is how many bytes it came in at most. Raises RefusedError.
    """
    if len(headers) > MAX_FIELDS or (
        # A head cannot be larger than what it came in, which is mostly small.
        came_in > MAX_HEAD and _size(target, headers) > MAX_HEAD
    ):
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if not target.startswith(b"/") or b"#" in target:
        raise RefusedError
    expects_continue = False
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
                expects_continue = True
    if version != "1.1":
        if version != "1.0" or codings:
            raise RefusedError
    elif not hosts:
        raise RefusedError
    if hosts > 1 or lengths > 1 or (codings and (codings != [b"chunked"] or lengths)):
        raise RefusedError
    return Facts(expects_continue, version == "1.1" and not (lengths or codings))


def refusal(status: HTTPStatus) -> bytes:
    """Return the answer to what was refused, as problem details (RFC 9457)."""
    too_large = status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "too_large" if too_large else "bad_request"
    body = (
        f'{{"type":"about:blank","title":"{status.phrase}","status":{status.value},'
        f'"code":"{code}"}}'
    ).encode()
    return (
        b"HTTP/1.1 %d %s\r\n"
        b"content-type: application/problem+json\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
        % (status.value, status.phrase.encode(), len(body), body)
    )


def _size(target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    fields = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in headers)
    return len(target) + fields
