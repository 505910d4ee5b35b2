"""The `claims` parameter: which claims a page asks for by name (OIDC Core 5.5). Pure.

It comes from a page, so it is judged and written anew before it goes on. What must come back in the
ID token is remembered: every claim that is asked for there as essential, one of the values of an
essential `acr` (5.5.1.1), and the value of `sub` (5.5.1). The rest is a wish.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bff.oidc.json import BadJsonError, is_array, is_object, parse_object

MAX_LENGTH = 2048
PLACES = frozenset({"userinfo", "id_token"})
SCALARS = (str, int, float, bool)


class BadClaimsError(ValueError):
    """The text is no claims request, or not one that we pass on."""


@dataclass(frozen=True, slots=True)
class ClaimsRequest:
    """A claims request as it is sent on, and what the ID token must then say.

    `acr_values` are separated by spaces, as in the parameter of that name.
    """

    text: str
    essential: tuple[str, ...] = ()
    acr_values: str | None = None
    sub: str | None = None


def parse_claims(text: str) -> ClaimsRequest:
    """Return the request in a `claims` parameter. Raises BadClaimsError."""
    if len(text) > MAX_LENGTH:
        raise BadClaimsError("too long")
    try:
        asked = parse_object(text)
    except BadJsonError:
        raise BadClaimsError("no JSON object") from None
    if not asked or not asked.keys() <= PLACES:
        raise BadClaimsError("neither userinfo nor id_token")
    for claims in asked.values():
        if not is_object(claims) or not all(map(_is_request, claims.values())):
            raise BadClaimsError("no claims")
    wanted: dict[str, Any] = asked.get("id_token", {})
    essential = {name: one for name, one in wanted.items() if one and one.get("essential")}
    values = _values(essential.get("acr"))
    if any(not isinstance(one, str) or not one or " " in one for one in values):
        raise BadClaimsError("acr")
    sub = _values(wanted.get("sub"))
    if len(sub) > 1 or any(not isinstance(one, str) for one in sub):
        raise BadClaimsError("sub")
    return ClaimsRequest(
        text=json.dumps(asked, separators=(",", ":")),
        essential=tuple(sorted(essential)),
        acr_values=" ".join(values) or None,
        sub=sub[0] if sub else None,
    )


def _is_request(one: object) -> bool:
    if one is None:
        return True
    if not is_object(one) or not isinstance(one.get("essential", False), bool):
        return False
    values = one.get("values", [])
    return (
        is_array(values)
        and all(isinstance(value, SCALARS) for value in values)
        and isinstance(one.get("value", ""), SCALARS)
    )


def _values(one: dict[str, Any] | None) -> list[Any]:
    if one is None:
        return []
    given: list[Any] = [one["value"]] if "value" in one else one.get("values", [])
    return given
