"""How a browser reads an address: the rules of the WHATWG URL parser by which redirects go wrong.

Only what matters for a reference against an https base: control characters and white space are
dropped, a backslash is a slash, two slashes begin another host, dot segments are resolved also when
percent-encoded (URL Standard 4.4: relative, relative slash, path start and path states).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SINGLE = frozenset({".", "%2e"})
DOUBLE = frozenset({"..", ".%2e", "%2e.", "%2e%2e"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_CONTROL_OR_SPACE = "".join(map(chr, range(0x21)))


@dataclass(frozen=True)
class Resolved:
    """Where a browser goes."""

    origin: str
    path: str
    query: str
    fragment: str


def resolve(reference: str, origin: str, path: str = "/") -> Resolved:
    """Return where a link to `reference` leads on a page of `origin` at `path`."""
    text = reference.strip(_CONTROL_OR_SPACE)
    text = text.replace("\t", "").replace("\n", "").replace("\r", "")
    rest, _, fragment = text.partition("#")
    if _SCHEME.match(rest):
        return Resolved(rest, "", "", fragment)
    rest, _, query = rest.partition("?")
    rest = rest.replace("\\", "/")
    if rest.startswith("//"):
        host, _, after = rest.lstrip("/").partition("/")
        return Resolved(f"https://{host}", f"/{after}", query, fragment)
    if not rest.startswith("/"):
        rest = path.rpartition("/")[0] + "/" + rest
    return Resolved(origin, _without_dots(rest), query, fragment)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        if segment.lower() in DOUBLE:
            del kept[-1:]
            kept += [""] if last else []
        elif segment.lower() in SINGLE:
            kept += [""] if last else []
        else:
            kept.append(segment)
    return "/" + "/".join(kept)
