"""Requests that are known: those that differ from an earlier one in target and a few values alone.

A page's requests are mostly alike. Whether our own page made them, and what of their fields goes to
the upstream, follows from the bytes of these fields and the route, so it is found here by all of
them; session, token, policy, path, request id and the client's address are looked at anew each
time. So are the values of the fields in `VARYING`, which differ from page to page, from user to
user behind one proxy, or each time; those of them that go on, go on as they came.

Rules: only a request that the ordinary way let pass with a session is known, by the very bytes that
were parsed there; a value that varies is visible characters, so that every parser reads it alike,
and its field stands there once; only what has come twice is kept, since some clients' fields are
never the same; bounded in number and size, since strangers choose the fields; a full memory starts
again from nothing. Routes are told apart by identity, so they must live as long as this.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.types import Scope

from bff.exchange import BYTES
from bff.memo import Marks
from bff.proxy.route import Route
from bff.proxy.wire import BLANKS, Form

ENTRIES = 1024
LARGEST = 4096
LINE_END = b"\r\n"
_METHOD = b"GET "
_VERSION = b" HTTP/1.1"
COOKIE = b"cookie"
FORWARDED_FOR = b"x-forwarded-for"
REQUEST_ID = b"x-request-id"
VARYING = frozenset(
    {COOKIE, FORWARDED_FOR, REQUEST_ID, b"x-real-ip", b"x-amzn-trace-id", b"traceparent",
     b"tracestate", b"referer", b"if-none-match", b"if-modified-since"}
)  # fmt: skip
# By first letters, which is twice as fast as trying one name after another.
_VARYING = re.compile(
    rb"\r\n([CcXxTtRrIi](?:ookie"
    rb"|-(?:[Ff]orwarded-[Ff]or|[Rr]equest-[Ii][Dd]|[Rr]eal-[Ii][Pp]|[Aa]mzn-[Tt]race-[Ii]d)"
    rb"|race(?:parent|state)|eferer|f-(?:[Nn]one-[Mm]atch|[Mm]odified-[Ss]ince)))"
    rb": ([!-~](?:[\t -~]*[!-~])?)(?=\r\n)"
)
AUTHORIZATION, OUR_ID, CLIENT = BLANKS[:3]
_OF_FIELDS = BLANKS[3:]
Key = tuple[int | bytes, ...]


class Known(NamedTuple):
    """What is known of a request: its head for the upstream, and where it says to come from.

    `form` has blanks for `AUTHORIZATION`, `OUR_ID`, `CLIENT`, and the values that vary. Of these,
    the cookies are at `cookies`, and `forwarded_for` and `request_id` tell where the two are.
    """

    form: Form
    origin: bytes | None
    cookies: int
    forwarded_for: int | None
    request_id: int | None


class Forms(dict[Key, Known]):
    """The requests that are known, by `key_of`."""

    def __init__(self) -> None:
        super().__init__()
        self.marks = Marks()

    def remember(self, key: Key, known: Known) -> None:
        """Keep what is known of requests."""
        if len(self) >= ENTRIES:
            self.clear()
        self[key] = known


def end_of_line(data: bytes) -> int:
    """Return where the first line of a request ends; -1 unless it is the line of a GET, as usual.

    What came before it, such as an empty line (RFC 9112 section 2.2), would be taken for a part of
    it, and the line itself for one of the fields.
    """
    end = data.find(LINE_END)
    return end if data[:4] == _METHOD and data[end - 9 : end] == _VERSION else -1


def split(fields: bytes) -> list[bytes]:
    """Return a head's fields in pieces: what stays, then again and again a name, a value, the rest.

    `fields` begin with the end of the line before them; the names are those in `VARYING`.
    """
    return _VARYING.split(fields)


def key_of(route: Route, pieces: list[bytes]) -> Key:
    """Return by what requests like this one are found: all but the values that vary."""
    return (id(route), *pieces[::3], *pieces[1::3])


def pieces_of(route: Route, scope: Scope) -> list[bytes] | None:
    """Return the pieces of a request's fields; None for one that cannot be known."""
    data: bytes | None = scope["state"].get(BYTES)
    if data is None or len(data) > LARGEST or route.cookies:
        return None
    end = end_of_line(data)
    fields = data[end:]
    if end < 0 or b"\n " in fields or b"\n\t" in fields:
        return None
    pieces = split(fields)
    names = [name.lower() for name in pieces[1::3]]
    there = [name for name, _ in scope["headers"] if name in VARYING]
    if COOKIE not in names or names != there or len(set(names)) < len(names):
        return None
    return pieces


def known_by(form: Form, origin: bytes | None, pieces: list[bytes]) -> Known:
    """Return what is known of requests with these pieces."""
    places = {name.lower(): number for number, name in enumerate(pieces[1::3])}
    return Known(form, origin, places[COOKIE], places.get(FORWARDED_FOR), places.get(REQUEST_ID))


def blanked(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a request's fields with blanks for the values that vary."""
    blanks = iter(_OF_FIELDS)
    return [(name, next(blanks) if name in VARYING else value) for name, value in headers]
