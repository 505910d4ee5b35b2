"""The members `resource`, `token_exchange` and `max_age` of a route in BFF_ROUTES. Pure.

Each reader returns the fields of a `Route` that its member stands for. Raises MemberFaultError.

Source: RFC 8707 section 2 (resource), RFC 8693 section 2.1 (token exchange), RFC 9470 (max_age).
"""

from __future__ import annotations

from typing import Any, cast

from bff.oidc.token_target import TokenTarget, is_resource, is_word
from bff.proxy.route_fault import MemberFaultError

MAX_MAX_AGE = 31_536_000
EXCHANGE = ("audience", "resource", "scope")


def read_max_age(value: object) -> dict[str, Any]:
    """Read the seconds for which a sign-in is recent enough."""
    if value is None or (type(value) is int and 0 < value <= MAX_MAX_AGE):
        return {"max_age": value}
    raise MemberFaultError(f"must be whole seconds, 1 to {MAX_MAX_AGE}, or null", "300")


def read_resource(value: object) -> dict[str, Any]:
    """Read the resource of which tokens are asked at the refresh."""
    if not is_resource(value):
        raise MemberFaultError(
            "must be an absolute URI without a fragment", '"https://orders.example"'
        )
    return {"token": TokenTarget(resource=str(value))}


def read_token_exchange(value: object) -> dict[str, Any]:
    """Read for what the session's access token is exchanged."""
    example = '{"audience": "orders"}'
    if not isinstance(value, dict):
        raise MemberFaultError(f"must be an object of {', '.join(EXCHANGE)}", example)
    asked = cast("dict[str, object]", value)
    unknown = sorted(asked.keys() - set(EXCHANGE))
    if unknown:
        raise MemberFaultError(f"has {unknown[0]!r}, and knows {', '.join(EXCHANGE)}", example)
    if asked.get("audience") is None and asked.get("resource") is None:
        raise MemberFaultError("must name an audience or a resource", example)
    audience, resource, scope = (asked.get(name) for name in EXCHANGE)
    if audience is not None and not is_word(audience):
        raise MemberFaultError("has an audience that is no name without spaces", example)
    if resource is not None and not is_resource(resource):
        raise MemberFaultError(
            "has a resource that is no absolute URI without a fragment",
            '{"resource": "https://orders.example"}',
        )
    if scope is not None and not (isinstance(scope, str) and all(map(is_word, scope.split(" ")))):
        raise MemberFaultError(
            "has a scope that is no text of names with single spaces",
            '{"audience": "orders", "scope": "orders:read orders:write"}',
        )
    return {
        "token": TokenTarget(
            exchange=True, resource=_text(resource), audience=_text(audience), scope=_text(scope)
        )
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
