"""JSON from strangers: objects only, no member twice, bounded depth. Pure.

Two parsers that disagree about a doubled member are how a check and a use come to see two different
values; so a doubled member is refused, and so is what nests deeper than anything real (how deep the
library itself goes depends on the version of Python, and is not the same for what is written). So
are halves of surrogate pairs (RFC 7493 2.1): no text that a parser accepted may fail to be written.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from typing import Any, TypeGuard

MAX_DEPTH = 64


class BadJsonError(ValueError):
    """The bytes are not a JSON object, or not an unambiguous one."""


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object in `data` (RFC 8259). Raises BadJsonError for anything else."""
    try:
        text = data if isinstance(data, str) else data.removeprefix(BOM_UTF8).decode()
        value = _DECODER.decode(text)
        if text.count("{") + text.count("[") > MAX_DEPTH and _too_deep(value):
            raise BadJsonError
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadJsonError from None
    if not is_object(value):
        raise BadJsonError
    return value


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a parsed value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a parsed value is a JSON array."""
    return isinstance(value, list)


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return False
    return any(is_object(one) or is_array(one) for one in level)


def _inner(value: object) -> Iterable[object]:
    if is_object(value):
        return value.values()
    return value if is_array(value) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJsonError
    return value


def _refuse(constant: str) -> Any:
    raise BadJsonError(constant)


# Made once: `json.loads` makes a decoder each time that it is given a hook.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
