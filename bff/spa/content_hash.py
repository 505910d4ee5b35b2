"""Does a file's name change with its content, as bundlers write names? Pure.

Such a file may be kept for a year without asking. A wrong yes would keep an old file in browsers, a
wrong no costs one question answered with 304: so a name is believed only where it does not read as
words and numbers. The hash is what follows the last `-` or `.` before the extensions:

1. 8 to 64 characters of 0-9 a-f, with digits and letters (webpack, Parcel, older Vite and Angular);
   from 16 characters on it may be the whole name. `20240131` is a date, `feed2024` numbered.
2. 8 characters of A-Z 2-7, with a letter (esbuild, Angular): in the name of a script or style sheet
   any, elsewhere with a digit and in three runs or more.
3. 8 characters of A-Z a-z 0-9 _ - (Rollup, Rolldown, Vite) with capitals, in four runs or more.
   In a folder `assets`, where Vite writes, two runs suffice for scripts and style sheets.

A run is a word (`Chapter`, `chapter`, `DOM`), or digits. `.map` counts as the file that it maps,
and webpack's `.chunk` and `.bundle` after the hash don't count. Pages never have one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PAGES = frozenset({"html", "htm", "xhtml"})
_CODE = frozenset({"js", "mjs", "css"})
_INFIXES = frozenset({"chunk", "bundle"})
_HEX = re.compile(r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])(?![a-f]+[0-9]+$)[0-9a-f]{8,64}")
_BASE32 = re.compile(r"(?=[2-7]*[A-Z])[A-Z2-7]{8}")
_BASE64URL = re.compile(r"(?=[^A-Z]*[A-Z])[A-Za-z0-9_-]{8}")
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_LENGTH = 8
_ALONE = 16


def has_content_hash(parts: Sequence[str]) -> bool:
    """Return whether the last of a path's names carries a hash of the file's content."""
    *folders, name = parts
    stem, _, extension = name.removesuffix(".map").rpartition(".")
    extension = extension.lower()
    if not stem or extension in _PAGES:
        return False
    head, _, infix = stem.rpartition(".")
    if head and infix in _INFIXES:
        stem = head
    last = re.split(r"[-.]", stem)[-1]
    if _HEX.fullmatch(last) and (len(last) < len(stem) or len(last) >= _ALONE):
        return True
    if len(stem) < _LENGTH + 2 or stem[-_LENGTH - 1] not in "-.":
        return False
    token = stem[-_LENGTH:]
    runs = len(_RUN.findall(token))
    code = extension in _CODE
    if _BASE32.fullmatch(token):
        return code or (runs >= 3 and not token.isalpha())  # noqa: PLR2004 - the rule's own number
    if _BASE64URL.fullmatch(token):
        return runs >= (2 if code and "assets" in folders else 4)
    return False
