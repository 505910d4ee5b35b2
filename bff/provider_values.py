"""Settings for what is peculiar to some providers, read and judged. Pure.

Each function raises ValueError with the end of a sentence that begins with the variable's name.
docs/providers.md says which provider needs which of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import cast

from bff.issuers import ANY_TENANT, GUID
from bff.values import is_loopback, parse_json, parse_url, strings

PLACEHOLDERS = frozenset({"client_id", "post_logout_redirect_uri", "id_token", "state", "sid"})
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")

OF_ID_TOKENS = frozenset({"iss", "sid", "acr", "amr", "auth_time", "session_expiry"})

Accepted = tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class PlainOAuth2:
    """A provider without OpenID Connect: who the user is, its API says (RFC 6749 and no more).

    `subject` is the member of the API's answer that names the user for good, `claims` are those
    that the session keeps of the rest.
    """

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    subject: str
    claims: tuple[str, ...] = ()


def parse_endpoint(value: str) -> str:
    """Return the URL of an endpoint: https, http only on loopback, no fragment, no user."""
    parts = parse_url(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an https URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https; http is only for a loopback host")
    if "#" in value or "@" in parts.netloc:
        raise ValueError("must have no fragment or user")
    return value


def parse_tenants(value: object) -> object:
    """Return tenant ids in small letters, as tokens have them."""
    given = strings(parse_json(value, list, "a JSON list") if isinstance(value, str) else value)
    tenants = frozenset(tenant.lower() for tenant in given)
    for tenant in tenants - {ANY_TENANT}:
        if not GUID.fullmatch(tenant):
            raise ValueError("must hold tenant ids (GUIDs), not names or domains")
    return tenants


def parse_required_claims(value: object) -> dict[str, Accepted]:
    """Return the values accepted of each claim."""
    given = parse_json(value, dict, "a JSON object of claim names")
    required: dict[str, Accepted] = {}
    for name, accepted in given.items():
        values = cast(
            "list[object]", [*accepted] if isinstance(accepted, list | tuple) else [accepted]
        )
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise ValueError(f"must name the value or values accepted of {name}")
        required[name] = tuple(cast("list[str | int | float | bool]", values))
    return required


def parse_logout_params(value: object) -> dict[str, str] | None:
    """Return the parameters of the sign-out at the provider, with their placeholders."""
    if value is None:
        return None
    params: dict[str, str] = parse_json(value, dict, "a JSON object of strings")
    known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
    for name, text in params.items():
        if not name or not isinstance(cast("object", text), str):
            raise ValueError("must be a JSON object of strings")
        if not _placeholders(text) <= PLACEHOLDERS:
            raise ValueError(f"{name} has a placeholder that is none of {known}")
    return params


def filled(params: Mapping[str, str], values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the parameters with every placeholder filled; without those that are then empty."""
    known = {name: value or "" for name, value in values.items()}
    full = {name: text.format_map(known) for name, text in params.items()}
    return {name: text for name, text in full.items() if text}


def parse_plain_oauth2(value: object) -> PlainOAuth2 | None:
    """Return the provider that has no ID tokens."""
    if value is None or isinstance(value, PlainOAuth2):
        return value
    given = parse_json(value, dict, "a JSON object of endpoints")
    if unknown := sorted(given.keys() - {*ENDPOINTS, "subject", "claims"}):
        raise ValueError(f"{unknown[0]}: there is no such member")
    for name in (*ENDPOINTS, "subject"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise ValueError(f"must have {name}, a string")
    for name in ENDPOINTS:
        try:
            parse_endpoint(given[name])
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    claims = given.get("claims", [])
    if not isinstance(claims, list) or not all(
        isinstance(one, str) for one in cast("list[object]", claims)
    ):
        raise ValueError("claims must be a list of names")
    if taken := sorted(OF_ID_TOKENS & frozenset(cast("list[str]", claims))):
        raise ValueError(f"claims may not have {taken[0]}: only an ID token says that")
    return PlainOAuth2(
        given["authorization_endpoint"],
        given["token_endpoint"],
        given["userinfo_endpoint"],
        given["subject"],
        tuple(cast("list[str]", claims)),
    )


def _placeholders(text: str) -> set[str]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return {""}
    return {
        field if not specification and conversion is None else ""
        for _, field, specification, conversion in parts
        if field is not None
    }
