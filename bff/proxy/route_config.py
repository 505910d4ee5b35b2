"""BFF_ROUTES: from its JSON value to routes. Every fault is reported at once. Pure.

A value is an object of path prefixes; each leads to an upstream URL, or to an object of the members
in `_MEMBERS`. A member that is not known is a fault, not ignored: a policy that is misspelled would
otherwise not be enforced. So is a policy on a route where nobody is signed in.

Source: contract, section 5.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from bff.proxy.paths import BadPath, canonical_prefix, judge_path
from bff.proxy.route import Auth, Route
from bff.proxy.wire import Address

RESERVED = b"/bff"
MAX_TIMEOUT = 86_400
_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
_SCOPE = frozenset(chr(code) for code in range(0x21, 0x7F)) - frozenset('"\\')


class RouteFaults(ValueError):  # noqa: N818 - holds many errors
    """BFF_ROUTES cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class _FaultError(Exception):
    """What is wrong with one member, and how a good one looks."""

    def __init__(self, problem: str, example: str) -> None:
        super().__init__(f"{problem}, for example {example}")


def parse_routes(value: object) -> list[Route]:
    """Return the routes of BFF_ROUTES, given as JSON text or as what JSON text decodes to.

    Raises RouteFaults.
    """
    faults: list[str] = []
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_without_repeats)
        except ValueError as error:
            raise RouteFaults([f"is not JSON: {error}"]) from None
    if not isinstance(value, Mapping):
        raise RouteFaults(
            ['must be an object of path prefixes, for example {"/api": "http://api:9000"}']
        )
    routes: dict[bytes, Route] = {}
    for name, member in cast("Mapping[object, object]", value).items():
        route = _route(str(name), member, faults)
        if route is not None and route.prefix in routes:
            faults.append(f"{name}: this prefix is there twice; {route.name} is enough")
        elif route is not None:
            routes[route.prefix] = route
    if faults:
        raise RouteFaults(faults)
    return list(routes.values())


def _route(name: str, value: object, faults: list[str]) -> Route | None:
    own: list[str] = []
    fields: dict[str, Any] = {}
    members = cast("dict[str, object]", value) if isinstance(value, dict) else {"upstream": value}
    try:
        fields["prefix"] = _prefix(name)
    except _FaultError as fault:
        own.append(str(fault))
    if "upstream" not in members:
        own.append("upstream is required, for example http://api:9000")
    for member, content in members.items():
        read = _MEMBERS.get(member)
        if read is None:
            known = ", ".join(_MEMBERS)
            own.append(f"{member!r} is not a member of a route, for example of {known}")
            continue
        try:
            fields.update(read(content))
        except _FaultError as fault:
            own.append(f"{member} {fault}")
    policies = [member for member in ("scopes", "claims", "acr") if fields.get(member)]
    if policies and fields.get("auth") in {"client", "none"}:
        own.append(f"{policies[0]} needs a signed-in user, for example auth user")
    faults.extend(f"{name}: {problem}" for problem in own)
    return None if own else Route(**fields)


def _prefix(name: str) -> bytes:
    if not name.startswith("/"):
        raise _FaultError("a prefix must start with a slash", "/api")
    try:
        prefix = canonical_prefix(name)
    except BadPath as error:
        raise _FaultError(f"the prefix is not a safe path ({error})", "/api") from None
    if prefix == RESERVED or prefix.startswith(RESERVED + b"/"):
        raise _FaultError("/bff belongs to the service itself", "/api")
    return prefix


def _upstream(value: object) -> dict[str, Any]:
    example = "http://api:9000"
    if not isinstance(value, str) or not value:
        raise _FaultError("must be a URL", example)
    if not value.isascii() or any(c <= " " or c in '"<>\\^`{|}\x7f' for c in value):
        raise _FaultError("has a character that no URL may have", example)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise _FaultError("is not a URL", example) from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise _FaultError("must be an http or https URL with a host", example)
    if "@" in parts.netloc:
        raise _FaultError("must not hold a user or password", example)
    if "?" in value or "#" in value:
        raise _FaultError("must have no query and no fragment", example)
    if port == 0 or parts.netloc.endswith(":"):
        raise _FaultError("must have a port from 1 to 65535, or none", example)
    if not (set(host) <= _HOST or _is_ipv6(host)):
        raise _FaultError("has a host that is neither a name nor an address", example)
    try:
        judge_path(parts.path.encode() or b"/")
    except BadPath as error:
        raise _FaultError(f"has an unsafe base path ({error})", "http://api:9000/v1") from None
    scheme = cast("Literal['http', 'https']", parts.scheme)
    default = 443 if scheme == "https" else 80
    return {
        "upstream": Address(scheme, host, port or default),
        "base_path": parts.path.rstrip("/").encode(),
    }


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _flag(name: str) -> Callable[[object], dict[str, Any]]:
    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, bool):
            raise _FaultError("must be true or false", "true")
        return {name: value}

    return read


def _auth(value: object) -> dict[str, Any]:
    if value not in get_args(Auth):
        raise _FaultError(f"must be one of {', '.join(get_args(Auth))}", "user")
    return {"auth": value}


def _scopes(value: object) -> dict[str, Any]:
    scopes = cast("list[object]", value) if isinstance(value, list) else [None]
    for scope in scopes:
        if not isinstance(scope, str) or not scope or not set(scope) <= _SCOPE:
            raise _FaultError("must be a list of scope names", '["orders:read"]')
    return {"scopes": frozenset(scopes)}


def _claims(value: object) -> dict[str, Any]:
    example = '{"role": ["admin", "owner"]}'
    if not isinstance(value, dict):
        raise _FaultError("must be an object of claim names", example)
    claims: list[tuple[str, tuple[str | int | float | bool, ...]]] = []
    for name, accepted in cast("dict[str, object]", value).items():
        values = cast("list[object]", accepted) if isinstance(accepted, list) else [accepted]
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise _FaultError(f"must name the values accepted of {name}", example)
        claims.append((name, tuple(cast("list[str | int | float | bool]", values))))
    return {"claims": tuple(claims)}


def _acr(value: object) -> dict[str, Any]:
    if value is not None and (not isinstance(value, str) or not value or " " in value):
        raise _FaultError("must be one acr value, or null", '"urn:example:mfa"')
    return {"acr": value}


def _timeout(value: object) -> dict[str, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT:
        return {"timeout": float(value)}
    raise _FaultError(f"must be seconds above 0, at most {MAX_TIMEOUT}", "60")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = value
    return found


_MEMBERS: dict[str, Callable[[object], dict[str, Any]]] = {
    "upstream": _upstream,
    "strip_prefix": _flag("strip_prefix"),
    "auth": _auth,
    "scopes": _scopes,
    "claims": _claims,
    "acr": _acr,
    "cookies": _flag("cookies"),
    "timeout": _timeout,
}
