"""From a request's path to the names of a file in the folder. Pure.

Rules: a path is decoded once, as UTF-8; a name that means something other than itself to some file
system is no file at all, on any system: `.` and `..`, a slash or backslash, a drive or stream
(`:`), a device (`NUL`, `COM1.txt`), a short name (`GIT~1`), a dot or space at its end, a control
character. Names that begin with a dot are never served (`.env`, `.git`), but for `.well-known` at
the root, which is made for it.

Source: RFC 8615 (well-known URIs); Microsoft, "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

import re

from bff.proxy.paths import BadPath, decode_path

WELL_KNOWN = ".well-known"
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|[. ]$|~[0-9]')
_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\..*)?", re.IGNORECASE
)


def names_of(path: bytes) -> tuple[str, ...] | None:
    """Return the names that lead to a file, none for the folder itself; None where none may.

    `path` is a request's path, percent-encoded. A slash at its end gives an empty last name.
    """
    if not path.startswith(b"/"):
        return None
    try:
        decoded = decode_path(path).decode()
    except (BadPath, UnicodeDecodeError):
        return None
    if decoded == "/":
        return ()
    names = tuple(decoded[1:].split("/"))
    for place, name in enumerate(names):
        last = place == len(names) - 1
        if not name:
            if last:
                continue
            return None
        if name.startswith(".") and (place > 0 or name != WELL_KNOWN or last):
            return None
        if _FORBIDDEN.search(name) or _DEVICE.fullmatch(name):
            return None
    return names


def is_hidden(path: bytes) -> bool:
    """Whether a name in the path begins with a dot: no page of the application is there either."""
    try:
        return b"/." in decode_path(path)
    except BadPath:
        return True
