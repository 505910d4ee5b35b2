"""Where a route leads: one URL, or several that take turns. Pure.

Rules: a URL has a scheme, a host, perhaps a port and a base path, and nothing else, no user and no
query; several of them differ in their addresses only, so that a request is the same at each.

Source: contract, section 5; RFC 3986 section 3.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from bff.proxy.paths import BadPath, judge_path
from bff.proxy.route_fault import MemberFaultError
from bff.proxy.wire import Address

MAX_ADDRESSES = 64
_EXAMPLE = "http://api:9000"
_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


def read_upstream(value: object) -> dict[str, Any]:
    """Return the fields of a route that say where it leads. Raises MemberFaultError."""
    several = '["http://a:9000", "http://b:9000"]'
    if not isinstance(value, list):
        address, base_path = _address(value)
        return {"upstream": address, "base_path": base_path}
    found = [_address(url) for url in cast("list[object]", value)]
    if not 0 < len(found) <= MAX_ADDRESSES:
        raise MemberFaultError(f"must name 1 to {MAX_ADDRESSES} URLs", several)
    first, *others = [address for address, _ in found]
    if len({first, *others}) < len(found):
        raise MemberFaultError("names an address twice", several)
    if len({base_path for _, base_path in found}) > 1:
        raise MemberFaultError("must have the same base path in every URL", several)
    return {"upstream": first, "alternates": tuple(others), "base_path": found[0][1]}


def _address(value: object) -> tuple[Address, bytes]:
    if not isinstance(value, str) or not value:
        raise MemberFaultError("must be a URL, or a list of URLs", _EXAMPLE)
    if not value.isascii() or any(c <= " " or c in '"<>\\^`{|}\x7f' for c in value):
        raise MemberFaultError("has a character that no URL may have", _EXAMPLE)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise MemberFaultError("is not a URL", _EXAMPLE) from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise MemberFaultError("must be an http or https URL with a host", _EXAMPLE)
    if "@" in parts.netloc:
        raise MemberFaultError("must not hold a user or password", _EXAMPLE)
    if "?" in value or "#" in value:
        raise MemberFaultError("must have no query and no fragment", _EXAMPLE)
    if port == 0 or parts.netloc.endswith(":"):
        raise MemberFaultError("must have a port from 1 to 65535, or none", _EXAMPLE)
    if not (set(host) <= _HOST or _is_ipv6(host)):
        raise MemberFaultError("has a host that is neither a name nor an address", _EXAMPLE)
    try:
        judge_path(parts.path.encode() or b"/")
    except BadPath as error:
        raise MemberFaultError(f"has an unsafe base path ({error})", "http://api:9000/v1") from None
    scheme = cast("Literal['http', 'https']", parts.scheme)
    default = 443 if scheme == "https" else 80
    return Address(scheme, host, port or default), parts.path.rstrip("/").encode()


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False
