"""Values of the environment, read: URLs, origins, JSON. Pure.

Each raises ValueError with the end of a sentence that begins with the variable's name.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only mean this machine (RFC 6761, RFC 8252 8.3)."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_url(value: str) -> SplitResult:
    """Return the parts of a URL that every parser reads alike."""
    if not value.isascii() or any(c <= " " or c in '"<>\\^`{|}\x7f' for c in value):
        raise ValueError("has a character that no URL may have")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def origin_of(parts: SplitResult) -> str:
    """Return the origin of a URL as browsers serialise it (RFC 6454 6.2)."""
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def strings(values: object) -> tuple[str, ...]:
    """Return a collection's members as text, those of secrets too."""
    if isinstance(values, str | SecretStr) or not isinstance(values, Iterable):
        raise ValueError("must be a collection of strings")  # noqa: TRY004 - as in _json
    return tuple(
        item.get_secret_value() if isinstance(item, SecretStr) else str(item)
        for item in cast("Iterable[object]", values)
    )


def parse_json(value: object, kind: type[Any], what: str) -> Any:
    """Return a JSON value of one kind; `what` names it to the operator."""
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_no_duplicates)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
        except RecursionError:
            raise ValueError("is nested too deep") from None
    if not isinstance(value, kind):
        raise ValueError(f"must be {what}")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def has_one_of(value: object, accepted: Iterable[object]) -> bool:
    """Whether a claim is, or as a list contains, one of the values accepted; `true` is not 1."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return any(
        isinstance(one, bool) is isinstance(other, bool) and one == other
        for other in accepted
        for one in values
    )


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names {name!r} twice")
    return dict(pairs)
