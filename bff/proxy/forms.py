"""Requests that are known: those that differ from an earlier one in target and cookies alone.

A page's requests are mostly alike. Whether our own page made them, and what of their fields goes to
the upstream, follows from the bytes of these fields, the route and the peer, so it is found here by
all of them; session, token, policy, path and request id are looked at anew each time.

Rules: only a request that the ordinary way let pass with a session is known, by the very bytes that
were parsed there; only what has come twice is kept, since some clients' fields are never the same;
bounded in number and size, since strangers choose the fields; a full memory starts again from
nothing. Routes are told apart by identity, so they must live as long as this.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.types import Scope

from bff.exchange import BYTES
from bff.memo import Marks
from bff.proxy.route import Route
from bff.proxy.wire import Form

ENTRIES = 1024
LARGEST = 4096
LINE_END = b"\r\n"
_COOKIES = (b"\r\nCookie: ", b"\r\ncookie: ")
_COOKIE = 10  # the length of each
_IN_VALUES = bytes((0x09, *range(0x20, 0x7F)))
_OWN = frozenset({b"x-request-id"})  # makes each request another
Key = tuple[int, str, bytes]


class Known(NamedTuple):
    """What is known of a request: its head for the upstream, and where it says to come from."""

    form: Form
    origin: bytes | None


class Forms(dict[Key, Known]):
    """The requests that are known, by `(id(route), peer, fields)`, fields as `split` gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.marks = Marks()

    def remember(self, key: Key, known: Known) -> None:
        """Keep what is known of requests."""
        if len(self) >= ENTRIES:
            self.clear()
        self[key] = known


def split(fields: bytes) -> tuple[bytes, bytes] | None:
    """Return a head's fields without its line of cookies, and that line's value.

    `fields` begin with the end of the line before them. None where there is no such line, as
    browsers and proxies write it, or where it holds what a parser could stumble over.
    """
    for name in _COOKIES:
        start = fields.find(name)
        if start >= 0:
            end = fields.find(LINE_END, start + _COOKIE)
            cookies = fields[start + _COOKIE : end]
            if cookies.translate(None, _IN_VALUES):
                return None
            return fields[:start] + fields[end:], cookies
    return None


def key_of(route: Route, scope: Scope) -> Key | None:
    """Return by what requests like this one are found; None for one that cannot be known."""
    data: bytes | None = scope["state"].get(BYTES)
    if data is None or len(data) > LARGEST or route.cookies or scope["method"] != "GET":
        return None
    cookies = 0
    for name, _ in scope["headers"]:
        if name in _OWN:
            return None
        cookies += name == b"cookie"
    parts = split(data[data.find(LINE_END) :])
    peer = scope.get("client")
    if cookies != 1 or parts is None or peer is None:
        return None
    fields = parts[0]
    if b"\n " in fields or b"\n\t" in fields:
        return None
    return id(route), peer[0], fields
