"""A route: its policy, what it sends on, and whom it lets pass. Pure.

Rules: the target that goes out is the bytes that came in, only moved under the upstream's base
path; scopes and claims are compared as they are (`true` is not 1), and a missing one never does.

Source: contract, section 5; RFC 9470 for the step-up.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bff.oidc.token_target import TokenTarget
from bff.proxy.wire import Address
from bff.values import has_one_of

Auth = Literal["user", "optional", "client", "none"]
_QUERY = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))


@dataclass(frozen=True, slots=True)
class Route:
    """A path prefix with its upstream and policy (contract, section 5).

    `prefix` is in the form for matching, without a slash at its end (`b""` is the root);
    `base_path` is that of the upstream's URL, likewise. `claims` holds pairs of a name and the
    values accepted. `timeout` is in seconds. `alternates` are further addresses beside `upstream`;
    `circuit` is after how many failures in a row an address is left out. The headers to pass have
    names in lower case. `max_age` is in seconds since the user signed in at the provider.
    `token` is for whom the upstream's access token is, where that is not the session's own.
    """

    prefix: bytes
    upstream: Address
    base_path: bytes = b""
    strip_prefix: bool = False
    auth: Auth = "user"
    scopes: frozenset[str] = frozenset()
    claims: tuple[tuple[str, tuple[str | int | float | bool, ...]], ...] = ()
    acr: str | None = None
    cookies: bool = False
    timeout: float = 60.0
    alternates: tuple[Address, ...] = ()
    circuit: int | None = None
    pass_request_headers: frozenset[bytes] = frozenset()
    pass_response_headers: frozenset[bytes] = frozenset()
    max_age: int | None = None
    token: TokenTarget | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Everywhere the upstream listens."""
        return (self.upstream, *self.alternates)

    @property
    def name(self) -> str:
        """The prefix, for people and logs."""
        return self.prefix.decode("ascii") or "/"

    @property
    def restricted(self) -> bool:
        """Whether a session alone is not enough."""
        return bool(self.scopes or self.claims or self.acr is not None or self.max_age is not None)


def target(route: Route, raw_path: bytes, query: bytes) -> bytes:
    """Return the request target for the upstream: the bytes that came, under its base path.

    `raw_path` has been judged and matched. A byte that no URL may hold, which can only stand in the
    query, goes out percent-encoded; so does `#`, which would begin a fragment.
    """
    path = raw_path
    if route.strip_prefix:
        for _ in range(route.prefix.count(b"/")):
            slash = path.find(b"/", 1)
            path = path[slash:] if slash > 0 else b""
    path = route.base_path + path or b"/"
    if not query:
        return path
    if query.translate(None, _QUERY):
        query = b"".join(bytes((byte,)) if byte in _QUERY else b"%%%02X" % byte for byte in query)
    return path + b"?" + query


class Verdict(enum.Enum):
    """What a route says to a session."""

    OK = "ok"
    FORBIDDEN = "forbidden"
    STEP_UP = "step_up"


def permits(
    route: Route,
    granted: frozenset[str],
    claims: Mapping[str, object],
    acr: str | None,
    age: float | None = None,
) -> Verdict:
    """Return whether a session may use a route.

    `granted` are the scopes of its access token; `age` is in seconds since its user signed in at
    the provider (`auth_time`), None if that is not known. What no new sign-in would mend comes
    first.
    """
    if not route.scopes <= granted:
        return Verdict.FORBIDDEN
    for name, accepted in route.claims:
        if not has_one_of(claims.get(name), accepted):
            return Verdict.FORBIDDEN
    if route.acr is not None and acr != route.acr:
        return Verdict.STEP_UP
    if route.max_age is not None and (age is None or age > route.max_age):
        return Verdict.STEP_UP
    return Verdict.OK
