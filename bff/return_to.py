"""Where a login may lead: a path on this origin, or `/`. Pure.

Open redirects come from two parsers that read one string differently, so whatever could be read in
two ways is not repaired but replaced by `/`: other origins, `//`, backslashes, control characters,
dot segments, encoded or not. What is left is written so that every parser sees the same path.
"""

from __future__ import annotations

import re
from urllib.parse import quote

MAX_LENGTH = 2048
HOME = "/"
PATH_SAFE = "/%:@!$&'()*+,;=~-._"
REST_SAFE = PATH_SAFE + "?"
_DOTS = re.compile(r"^(\.|%2e){1,2}(;.*)?$", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_DANGER = re.compile(r"%(2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)


def safe_return_to(value: str | None) -> str:
    """Return `value` as a relative reference with path, query and fragment; `/` if in doubt."""
    if not value or len(value) > MAX_LENGTH or not value.startswith("/"):
        return HOME
    if "\\" in value or any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in value):  # noqa: PLR2004
        return HOME
    rest, hash_sign, fragment = value.partition("#")
    path, question, query = rest.partition("?")
    if _ENCODED_DANGER.search(path) or _BAD_ESCAPE.search(path):
        return HOME
    segments = path.split("/")[1:]
    if any(not segment for segment in segments[:-1]) or any(map(_DOTS.match, segments)):
        return HOME
    try:
        written = quote(path, safe=PATH_SAFE)
        if question:
            written += "?" + quote(query, safe=REST_SAFE)
        if hash_sign:
            written += "#" + quote(fragment, safe=REST_SAFE)
    except UnicodeEncodeError:
        return HOME
    first = segments[0].lower()
    return HOME if first == "bff" or _spells_bff(first) else written


def _spells_bff(segment: str) -> bool:
    """Whether a segment reads `bff` once its percent-encoded letters are decoded."""
    return (
        segment.replace("%62", "b").replace("%66", "f").replace("%42", "b").replace("%46", "f")
        == "bff"
    )
