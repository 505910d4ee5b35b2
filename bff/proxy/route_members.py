"""The members of a route in BFF_ROUTES, each read and judged by itself. Pure.

Each reader returns the fields of a `Route` that its member stands for. Raises MemberFaultError.

Source: contract, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from bff.proxy.let_through import answer_may_pass, request_may_pass
from bff.proxy.route import Auth
from bff.proxy.route_fault import MemberFaultError
from bff.proxy.route_token import read_max_age, read_resource, read_token_exchange
from bff.proxy.route_upstream import read_upstream

MAX_TIMEOUT = 86_400
MAX_CIRCUIT = 1000
_SCOPE = frozenset(chr(code) for code in range(0x21, 0x7F)) - frozenset('"\\')


def _flag(name: str) -> Callable[[object], dict[str, Any]]:
    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, bool):
            raise MemberFaultError("must be true or false", "true")
        return {name: value}

    return read


def _auth(value: object) -> dict[str, Any]:
    if value not in get_args(Auth):
        raise MemberFaultError(f"must be one of {', '.join(get_args(Auth))}", "user")
    return {"auth": value}


def _scopes(value: object) -> dict[str, Any]:
    scopes = cast("list[object]", value) if isinstance(value, list) else [None]
    for scope in scopes:
        if not isinstance(scope, str) or not scope or not set(scope) <= _SCOPE:
            raise MemberFaultError("must be a list of scope names", '["orders:read"]')
    return {"scopes": frozenset(scopes)}


def _claims(value: object) -> dict[str, Any]:
    example = '{"role": ["admin", "owner"]}'
    if not isinstance(value, dict):
        raise MemberFaultError("must be an object of claim names", example)
    claims: list[tuple[str, tuple[str | int | float | bool, ...]]] = []
    for name, accepted in cast("dict[str, object]", value).items():
        values = cast("list[object]", accepted) if isinstance(accepted, list) else [accepted]
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise MemberFaultError(f"must name the values accepted of {name}", example)
        claims.append((name, tuple(cast("list[str | int | float | bool]", values))))
    return {"claims": tuple(claims)}


def _acr(value: object) -> dict[str, Any]:
    if value is not None and (not isinstance(value, str) or not value or " " in value):
        raise MemberFaultError("must be one acr value, or null", '"urn:example:mfa"')
    return {"acr": value}


def _timeout(value: object) -> dict[str, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT:
        return {"timeout": float(value)}
    raise MemberFaultError(f"must be seconds above 0, at most {MAX_TIMEOUT}", "60")


def _circuit(value: object) -> dict[str, Any]:
    if value is None or (type(value) is int and 0 < value <= MAX_CIRCUIT):
        return {"circuit": value}
    raise MemberFaultError(f"must be failures in a row, 1 to {MAX_CIRCUIT}, or null", "5")


def _headers(
    member: str, may_pass: Callable[[bytes], bool], example: str
) -> Callable[[object], dict[str, Any]]:
    def read(value: object) -> dict[str, Any]:
        names = cast("list[object]", value) if isinstance(value, list) else [None]
        passed: set[bytes] = set()
        for name in names:
            if not isinstance(name, str):
                raise MemberFaultError("must be a list of header names", f'["{example}"]')
            if not name.isascii() or not may_pass(name.lower().encode()):
                raise MemberFaultError(
                    f"names {name!r}, which is never let through, or passes anyway",
                    f'["{example}"]',
                )
            passed.add(name.lower().encode())
        return {member: frozenset(passed)}

    return read


MEMBERS: dict[str, Callable[[object], dict[str, Any]]] = {
    "upstream": read_upstream,
    "strip_prefix": _flag("strip_prefix"),
    "auth": _auth,
    "scopes": _scopes,
    "claims": _claims,
    "acr": _acr,
    "max_age": read_max_age,
    "resource": read_resource,
    "token_exchange": read_token_exchange,
    "cookies": _flag("cookies"),
    "client_certificate": _flag("client_certificate"),
    "timeout": _timeout,
    "circuit": _circuit,
    "pass_request_headers": _headers("pass_request_headers", request_may_pass, "X-User-Locale"),
    "pass_response_headers": _headers("pass_response_headers", answer_may_pass, "Clear-Site-Data"),
}
