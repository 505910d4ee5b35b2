"""What users have granted to clients: codes, refresh tokens and access tokens, by family.

One sign-in makes one grant; every token that comes of it points at that grant. A code or a
refresh token that is used twice has been stolen or lost, and nobody can tell which of the two
users is the thief: the whole family is revoked (RFC 6749 section 4.1.2, RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bff.demo.provider.errors import OAuthError
from bff.demo.provider.expiring import ExpiringMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from bff.demo.provider.config import Lifetimes


@dataclass(slots=True, eq=False)
class Grant:
    """A user's grant to a client, out of one authentication."""

    client_id: str
    sub: str
    sid: str
    scopes: tuple[str, ...]
    auth_time: int
    acr: str
    nonce: str | None = None
    revoked: bool = False


@dataclass(slots=True)
class _Code:
    grant: Grant
    redirect_uri: str
    code_challenge: str
    expires_at: float
    used: bool = False


@dataclass(slots=True)
class _RefreshToken:
    grant: Grant
    used: bool = False


class Grants:
    """All grants alive, and the rules by which tokens are redeemed.

    `on_reuse` hears of every code or refresh token that comes a second time.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random_token: Callable[[], str],
        lifetimes: Lifetimes,
        on_reuse: Callable[[str], None],
        *,
        rotate: bool,
    ) -> None:
        self._clock = clock
        self._random_token = random_token
        self._lifetimes = lifetimes
        self._on_reuse = on_reuse
        self._rotate = rotate
        # A used code is remembered for as long as a token of its family may live.
        self._codes: ExpiringMap[_Code] = ExpiringMap(
            clock, lifetimes.code + lifetimes.access_token
        )
        self._refresh_tokens: ExpiringMap[_RefreshToken] = ExpiringMap(
            clock, lifetimes.refresh_token
        )
        self._access_tokens: ExpiringMap[Grant] = ExpiringMap(clock, lifetimes.access_token)

    def issue_code(self, grant: Grant, redirect_uri: str, code_challenge: str) -> str:
        """Make an authorization code."""
        code = self._random_token()
        expires_at = self._clock() + self._lifetimes.code
        self._codes[code] = _Code(grant, redirect_uri, code_challenge, expires_at)
        return code

    def redeem_code(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> Grant:
        """Take the grant for a code, once (RFC 6749 4.1.3, RFC 7636 4.6).

        Raises OAuthError `invalid_grant`.
        """
        found = self._codes.get(code)
        if found is None or found.grant.client_id != client_id:
            raise _invalid_grant("The code is unknown, expired, or not this client's.")
        if found.used:
            found.grant.revoked = True
            self._on_reuse("code")
            raise _invalid_grant("The code has been used before.")
        found.used = True
        if found.expires_at <= self._clock() or found.grant.revoked:
            raise _invalid_grant("The code has expired.")
        if found.redirect_uri != redirect_uri:
            raise _invalid_grant("The redirect_uri is not that of the authorization request.")
        if not hmac.compare_digest(s256(verifier), found.code_challenge):
            raise _invalid_grant("The code_verifier does not match.")
        return found.grant

    def issue_refresh_token(self, grant: Grant) -> str:
        """Make a refresh token of the grant's family."""
        token = self._random_token()
        self._refresh_tokens[token] = _RefreshToken(grant)
        return token

    def redeem_refresh_token(self, token: str, client_id: str) -> Grant:
        """Return the grant of a refresh token; with rotation the token is used up.

        Raises OAuthError `invalid_grant`.
        """
        found = self._refresh_tokens.get(token)
        if found is None or found.grant.client_id != client_id:
            raise _invalid_grant("The refresh token is unknown, expired, or not this client's.")
        if found.used and not found.grant.revoked:
            found.grant.revoked = True
            self._on_reuse("refresh_token")
        if found.grant.revoked:
            raise _invalid_grant("The refresh token has been revoked.")
        return found.grant

    def use_up(self, token: str) -> str:
        """Exchange a redeemed refresh token for its successor (itself without rotation)."""
        found = self._refresh_tokens.get(token)
        if found is None or not self._rotate:
            return token
        found.used = True
        return self.issue_refresh_token(found.grant)

    def grant_of_refresh_token(self, token: str) -> Grant | None:
        """Return the grant that a refresh token, used or not, belongs to."""
        found = self._refresh_tokens.get(token)
        return None if found is None else found.grant

    def note_access_token(self, jti: str, grant: Grant) -> None:
        """Remember an access token, so that revocation reaches it at the userinfo endpoint."""
        self._access_tokens[jti] = grant

    def grant_of_access_token(self, jti: str) -> Grant | None:
        """Return the live grant of a live access token."""
        grant = self._access_tokens.get(jti)
        return None if grant is None or grant.revoked else grant

    def revoke_access_token(self, jti: str) -> bool:
        """Forget one access token. Returns whether it was alive."""
        return self._access_tokens.pop(jti) is not None

    def revoke_sub(self, sub: str) -> None:
        """Revoke every grant of a user."""
        grants = [code.grant for code in self._codes.values()]
        grants += [token.grant for token in self._refresh_tokens.values()]
        grants += self._access_tokens.values()
        for grant in grants:
            if grant.sub == sub:
                grant.revoked = True

    def export(self) -> dict[str, Any]:
        """Return all tokens alive and their grants as plain values. Codes are too short-lived."""
        refresh_tokens = self._refresh_tokens.export()
        access_tokens = self._access_tokens.export()
        grants = [token.grant for _, token in refresh_tokens.values()]
        grants += [grant for _, grant in access_tokens.values()]
        families = {id(grant): grant for grant in grants}
        number = {one: index for index, one in enumerate(families)}
        return {
            "grants": [asdict(grant) for grant in families.values()],
            "refresh_tokens": {
                token: (ends_at, number[id(one.grant)], one.used)
                for token, (ends_at, one) in refresh_tokens.items()
            },
            "access_tokens": {
                jti: (ends_at, number[id(grant)]) for jti, (ends_at, grant) in access_tokens.items()
            },
        }

    def restore(self, exported: dict[str, Any]) -> None:
        """Put exported tokens and grants in the place of all there are."""
        grants: list[Grant] = [Grant(**values) for values in exported["grants"]]
        for grant in grants:
            grant.scopes = tuple(grant.scopes)
        self._refresh_tokens.restore(
            {
                token: (ends_at, _RefreshToken(grants[int(number)], used))
                for token, (ends_at, number, used) in exported["refresh_tokens"].items()
            }
        )
        self._access_tokens.restore(
            {
                jti: (ends_at, grants[int(number)])
                for jti, (ends_at, number) in exported["access_tokens"].items()
            }
        )


def s256(verifier: str) -> str:
    """Return the S256 challenge of a code verifier (RFC 7636 section 4.2)."""
    digest = sha256(verifier.encode("ascii", "replace")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _invalid_grant(description: str) -> OAuthError:
    return OAuthError("invalid_grant", description)
