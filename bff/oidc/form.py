"""Parameters as they are written in addresses and forms (RFC 6749 appendix B). Pure.

The same text as `urllib.parse.urlencode` gives, which looks at each value several times. What most
values are, random or a name, needs no escape; what is of our configuration is escaped once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote_plus

CONFIGURED = frozenset({"client_id", "client_secret", "redirect_uri", "scope"})
_needs_none = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def form_encoded(fields: Mapping[str, str | list[str]]) -> str:
    """Return fields in form encoding; one with several values stands once for each."""
    pairs = [
        (name, one)
        for name, value in fields.items()
        for one in ((value,) if isinstance(value, str) else value)
    ]
    others = [text for pair in pairs if pair[0] not in CONFIGURED for text in pair]
    escaped = str if _needs_none("".join(others)) else _escaped
    return "&".join(
        [
            _configured(name, one) if name in CONFIGURED else f"{escaped(name)}={escaped(one)}"
            for name, one in pairs
        ]
    )


@lru_cache(maxsize=128)
def _configured(name: str, value: str) -> str:
    return f"{name}={_escaped(value)}"


def _escaped(text: str) -> str:
    return text if _needs_none(text) else quote_plus(text)
