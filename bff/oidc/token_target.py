"""For whom a route wants its own access token, and by which way it is got. Pure.

Two ways, of which a route names one: `resource` at a refresh (RFC 8707 section 2.2), or an exchange
of the session's access token (RFC 8693 section 2.1). A resource is an absolute URI without fragment
(RFC 8707 section 2); an audience is a name that the provider knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class TokenTarget:
    """What a token is asked for. Without `exchange` only `resource` is there.

    `name` is short, the same in every worker, and under it the token is kept.
    """

    exchange: bool = False
    resource: str | None = None
    audience: str | None = None
    scope: str | None = None
    name: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        """Make the name, which is needed for every request."""
        parts = (str(self.exchange), self.resource, self.audience, self.scope)
        encoded = "\n".join("" if part is None else part for part in parts)
        name = hashlib.sha256(encoded.encode()).hexdigest()[:16]
        object.__setattr__(self, "name", name)


def resources(targets: Iterable[TokenTarget]) -> tuple[str, ...]:
    """Return the resources of which tokens are asked at the refresh, each once."""
    found = (one.resource for one in targets if not one.exchange)
    return tuple(dict.fromkeys(resource for resource in found if resource is not None))


def is_resource(value: object) -> bool:
    """Whether a value is a resource indicator."""
    if not is_word(value):
        return False
    try:
        parts = urlsplit(str(value))
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path) and "#" not in str(value)


def is_word(value: object) -> bool:
    """Whether a value is text of visible ASCII characters, not too long."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_LENGTH
        and all("\x21" <= character <= "\x7e" for character in value)
    )
