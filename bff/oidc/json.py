"""JSON from strangers: objects only, no member twice, bounded depth. Pure.

Two parsers that disagree about a doubled member are how a check and a use come to see two different
values; so a doubled member is refused, and so is what nests deeper than anything real.
"""

from __future__ import annotations

import json
from typing import Any


class BadJsonError(ValueError):
    """The bytes are not a JSON object, or not an unambiguous one."""


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object in `data` (RFC 8259). Raises BadJsonError for anything else."""
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadJsonError from None
    if not isinstance(value, dict):
        raise BadJsonError
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJsonError
    return value


def _refuse(constant: str) -> Any:
    raise BadJsonError(constant)
