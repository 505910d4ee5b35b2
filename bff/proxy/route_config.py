"""BFF_ROUTES: from its JSON value to routes. Every fault is reported at once. Pure.

A value is an object of path prefixes; each leads to an upstream URL, a list of them, or an object
of the members in `route_members`. A member that is not known is a fault, not ignored: a policy that
is misspelled would otherwise not be enforced. So is a policy on a route where nobody is signed in.

Source: contract, section 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from bff.proxy.paths import BadPath, canonical_prefix
from bff.proxy.route import Route
from bff.proxy.route_fault import MemberFaultError
from bff.proxy.route_members import MEMBERS
from bff.proxy.wire import Address

RESERVED = b"/bff"


class RouteFaults(ValueError):  # noqa: N818 - holds many errors
    """BFF_ROUTES cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


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
    except MemberFaultError as fault:
        own.append(str(fault))
    if "upstream" not in members:
        own.append("upstream is required, for example http://api:9000")
    for member, content in members.items():
        read = MEMBERS.get(member)
        if read is None:
            known = ", ".join(MEMBERS)
            own.append(f"{member!r} is not a member of a route, for example of {known}")
            continue
        try:
            fields.update(read(content))
        except MemberFaultError as fault:
            own.append(f"{member} {fault}")
    if fields.pop("client_certificate", False) and "upstream" in fields:
        own += _show_certificate(fields)
    policies = [member for member in ("scopes", "claims", "acr", "max_age") if fields.get(member)]
    policies += [member for member in ("resource", "token_exchange") if member in members]
    if policies and fields.get("auth") in {"client", "none"}:
        own.append(f"{policies[0]} needs a signed-in user, for example auth user")
    if {"resource", "token_exchange"} <= members.keys():
        own.append("resource and token_exchange exclude each other, for example only resource")
    faults.extend(f"{name}: {problem}" for problem in own)
    return None if own else Route(**fields)


def _show_certificate(fields: dict[str, Any]) -> list[str]:
    addresses: list[Address] = [fields["upstream"], *fields.get("alternates", ())]
    if any(address.scheme != "https" for address in addresses):
        return ["client_certificate needs an https upstream, for example https://api:9000"]
    first, *others = [address._replace(with_certificate=True) for address in addresses]
    fields |= {"upstream": first, "alternates": tuple(others)}
    return []


def _prefix(name: str) -> bytes:
    if not name.startswith("/"):
        raise MemberFaultError("a prefix must start with a slash", "/api")
    try:
        prefix = canonical_prefix(name)
    except BadPath as error:
        raise MemberFaultError(f"the prefix is not a safe path ({error})", "/api") from None
    if prefix == RESERVED or prefix.startswith(RESERVED + b"/"):
        raise MemberFaultError("/bff belongs to the service itself", "/api")
    return prefix


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = value
    return found
