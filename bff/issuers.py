"""Which `iss` the tokens of a provider carry: its issuer to the letter, but for two. Pure.

- Microsoft Entra ID where people of several tenants sign in (`/common/v2.0`, `/organizations/v2.0`,
  `/consumers/v2.0`): its document names `.../{tenantid}/v2.0`, and each token the tenant that its
  user is of, which must be the one of `tid` (a GUID) and one of BFF_TENANTS. Its keys say by an
  `issuer` of their own for which tenants they sign.
- Google: `accounts.google.com` stands for `https://accounts.google.com` (OIDC Core 2, on `iss`).

Sessions and logouts are found by the true issuer: the tenant's own, or the one with the scheme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

ANY_TENANT = "*"
TENANT = "{tenantid}"
SEVERAL = frozenset({"common", "organizations", "consumers"})
VERSION = "/v2.0"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WITHOUT_SCHEME = {"https://accounts.google.com": "accounts.google.com"}


def published_issuer(issuer: str) -> str:
    """Return the issuer that the discovery document of a configured one must name."""
    origin, _, tenant = issuer.removesuffix(VERSION).rpartition("/")
    several = issuer.endswith(VERSION) and tenant in SEVERAL and origin.count("/") == 2  # noqa: PLR2004
    return f"{origin}/{TENANT}{VERSION}" if several else issuer


@lru_cache(maxsize=64)  # of the configuration
def several_tenants(issuer: str) -> bool:
    """Whether people of several tenants sign in at this issuer."""
    return published_issuer(issuer) != issuer


def true_issuer(claims: Mapping[str, Any], issuer: str) -> str | None:
    """Return the issuer of a token in its one form; None where it is not this provider."""
    iss, expected = claims.get("iss"), issuer
    if several_tenants(issuer):
        tid = claims.get("tid")
        if not isinstance(tid, str) or not GUID.fullmatch(tid):
            return None
        expected = published_issuer(issuer).replace(TENANT, tid)
    found = isinstance(iss, str) and iss in {expected, WITHOUT_SCHEME.get(expected)}
    return expected if found else None


def accepts_tenant(claims: Mapping[str, Any], issuer: str, tenants: frozenset[str]) -> bool:
    """Whether the user's tenant is one of ours; without several tenants there is nothing to ask."""
    return not several_tenants(issuer) or ANY_TENANT in tenants or str(claims.get("tid")) in tenants


def issuer_named(iss: object, issuer: str, tenants: frozenset[str]) -> str | None:
    """Return the true issuer that `iss` names; None where that is not this provider."""
    if not isinstance(iss, str):
        return None
    head, _, tail = published_issuer(issuer).partition(TENANT)
    claims = {"iss": iss, "tid": iss.removeprefix(head).removesuffix(tail)}
    return true_issuer(claims, issuer) if accepts_tenant(claims, issuer, tenants) else None


def key_speaks_for(key_issuer: str | None, claims: Mapping[str, Any]) -> bool:
    """Whether a key that names an issuer may sign a token of these claims."""
    if key_issuer is None:
        return True
    return key_issuer.replace(TENANT, str(claims.get("tid"))) == claims.get("iss")


def known_issuers(issuer: str, tenants: Iterable[str]) -> list[str]:
    """Return the true issuers that can be told beforehand: none for any tenant whatever."""
    if not several_tenants(issuer):
        return [issuer]
    named = sorted(frozenset(tenants) - {ANY_TENANT})
    return [published_issuer(issuer).replace(TENANT, tenant) for tenant in named]
