"""The three users of the demo: their claims, roles, and the API scopes they may be granted.

Alice may do everything, Bob may read orders, Carol may only sign in.
"""

from __future__ import annotations

from dataclasses import dataclass

STANDARD_SCOPES = ("openid", "profile", "email", "offline_access")
API_SCOPES = ("orders:read",)
SCOPES = (*STANDARD_SCOPES, *API_SCOPES)


@dataclass(frozen=True, slots=True)
class User:
    """A person who can sign in. `sub` is also the user name."""

    sub: str
    given_name: str
    family_name: str
    roles: tuple[str, ...]
    api_scopes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The full name."""
        return f"{self.given_name} {self.family_name}"

    @property
    def email(self) -> str:
        """The address, in a domain reserved for examples (RFC 2606)."""
        return f"{self.sub}@example.com"

    def may_have(self, scope: str) -> bool:
        """Say whether `scope` can be granted to this user."""
        return scope in STANDARD_SCOPES or scope in self.api_scopes

    def claims(self, scopes: tuple[str, ...]) -> dict[str, object]:
        """Return the claims that `scopes` open (OpenID Connect Core 5.4), without `sub`."""
        claims: dict[str, object] = {}
        if "profile" in scopes:
            claims |= {
                "name": self.name,
                "given_name": self.given_name,
                "family_name": self.family_name,
                "preferred_username": self.sub,
                "roles": list(self.roles),
            }
        if "email" in scopes:
            claims |= {"email": self.email, "email_verified": True}
        return claims


USERS = (
    User("alice", "Alice", "Adams", ("admin", "user"), ("orders:read",)),
    User("bob", "Bob", "Brown", ("user",), ("orders:read",)),
    User("carol", "Carol", "Clark", ("user",), ()),
)


def find_user(hint: str | None) -> User | None:
    """Return the user with this `sub` or email address, in whatever case."""
    wanted = (hint or "").casefold()
    return next((user for user in USERS if wanted in {user.sub, user.email}), None)
