"""The signing keys: RS256, the newest signs, the older ones stay published after a rotation.

Source: RFC 7517 (JWK), OpenID Connect Core 10.1.1 (rotation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from collections.abc import Callable

ALGORITHM = "RS256"
PUBLISHED = 5


def generate_key(kid: str) -> RSAKey:
    """Make a new signing key of this name."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": ALGORITHM})


class SigningKeys:
    """The ring of keys, newest first. `random_token` names them, `make_key` makes them."""

    def __init__(self, random_token: Callable[[], str], make_key: Callable[[str], RSAKey]) -> None:
        self._random_token = random_token
        self._make_key = make_key
        self._keys = [make_key(random_token())]

    def rotate(self) -> None:
        """Sign with a new key from now on; keep the last few published."""
        self._keys = [self._make_key(self._random_token()), *self._keys][:PUBLISHED]

    def kids(self) -> list[str]:
        """Name the published keys, the one that signs first."""
        return [str(key.kid) for key in self._keys]

    def jwks(self) -> dict[str, object]:
        """Return the public JWK Set."""
        return {"keys": [key.as_dict(private=False) for key in self._keys]}

    def export(self) -> list[dict[str, Any]]:
        """Return the keys with their private halves, newest first."""
        return [dict(key.as_dict(private=True)) for key in self._keys]

    def restore(self, keys: list[dict[str, Any]]) -> None:
        """Put exported keys in the place of those there are."""
        self._keys = [RSAKey.import_key(key) for key in keys]

    def sign(self, typ: str, claims: dict[str, object]) -> str:
        """Make a JWT of this `typ`."""
        key = self._keys[0]
        header = {"alg": ALGORITHM, "typ": typ, "kid": str(key.kid)}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])

    def verify(self, token: str, typ: str) -> dict[str, object] | None:
        """Return the claims of a token of this `typ` that one of our keys signed, else None.

        What our keys signed has our issuer; audience and times are for the caller to judge.
        """
        if not token.isascii():
            return None
        for key in self._keys:
            try:
                decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
            except JoseError:
                continue
            matches = decoded.header.get("kid") == key.kid and decoded.header.get("typ") == typ
            return dict(decoded.claims) if matches else None
        return None
