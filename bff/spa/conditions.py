"""What a request already has, and which part of a file it wants. Pure.

Rules: `If-None-Match` decides alone where it stands; a range is served only when it is one, of
bytes, well formed, and `If-Range` names exactly this version; several ranges, or another unit, get
the whole file, as a server may answer.

Source: RFC 9110 sections 8.8.3.2 (comparison), 13.1 (preconditions) and 14 (range requests).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import NamedTuple

_ENTITY_TAGS = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):  # noqa: N818 - the status' own word
    """No byte of the file is in the range that was asked for: 416."""


class Validators(NamedTuple):
    """A version of a file: its strong `etag`, quotes included, and seconds since the epoch."""

    etag: str
    modified: int


class Part(NamedTuple):
    """Bytes of a file: the first one's place, and how many."""

    start: int
    length: int


def http_date(seconds: int) -> str:
    """Return a time as `Last-Modified` has it (RFC 9110 5.6.7)."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def is_current(headers: Mapping[str, str], version: Validators) -> bool:
    """Return whether the client has this version: 304."""
    known = headers.get("if-none-match")
    if known is not None:
        return known.strip() == "*" or version.etag in _ENTITY_TAGS.findall(known)
    since = _seconds(headers.get("if-modified-since"))
    return since is not None and version.modified <= since


def wanted_part(headers: Mapping[str, str], version: Validators, size: int) -> Part | None:
    """Return the part that a GET asks for, None for the whole. Raises Unsatisfiable."""
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or not (found[1] or found[2]):
        return None
    condition = headers.get("if-range")
    if condition is not None and condition not in {version.etag, http_date(version.modified)}:
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        if length == 0:
            raise Unsatisfiable
        return Part(size - length, length)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return Part(first, min(last, size - 1) - first + 1)


def _seconds(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # Without a zone, as `-0000` gives it, a date would be read as the machine's own.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
