"""Which form of a file a client takes: as it is, or compressed beforehand. Pure.

The greatest `q` wins; among equals `br` before `gzip` before the file as it is, which is always
there and is sent where nothing else may be: better than the 406 that a client could not use.

Source: RFC 9110 sections 12.4.2 (weights) and 12.5.3 (`Accept-Encoding`); RFC 7932 (`br`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

IDENTITY = "identity"
SUFFIXES = {"br": ".br", "gzip": ".gz"}
_MEMBER = re.compile(
    r"([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?",
    re.IGNORECASE,
)
_ALIASES = {"x-gzip": "gzip"}
_UNNAMED = 0.0001  # below any weight that a client can state


def choose_coding(accept_encoding: str | None, available: Collection[str]) -> str:
    """Return `br`, `gzip` or `identity`; of the first two only what is `available`.

    `accept_encoding` is the field's value, None where it is missing.
    """
    if accept_encoding is None:
        return IDENTITY
    weights: dict[str, float] = {}
    for member in accept_encoding.split(","):
        found = _MEMBER.fullmatch(member.strip(" \t"))
        if found is not None:
            name = found[1].lower()
            weights.setdefault(_ALIASES.get(name, name), float(found[2] or 1))
    best, highest = IDENTITY, weights.get(IDENTITY, _UNNAMED)
    for coding in reversed(SUFFIXES):
        weight = weights.get(coding, weights.get("*", 0.0))
        if coding in available and weight > 0 and weight >= highest:
            best, highest = coding, weight
    return best
