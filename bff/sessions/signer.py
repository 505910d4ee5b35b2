"""itsdangerous' signer with its keys at hand: derived once a secret, and not for each value.

The signatures are the same to the bit.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm


class KeyedSigner(Signer):
    """Signs with the newest of the secrets, the last one; any of them is good to verify with."""

    def __init__(self, secrets: Sequence[bytes], salt: bytes) -> None:
        super().__init__(
            list(secrets),
            salt=salt,
            key_derivation="hmac",
            digest_method=hashlib.sha256,
            algorithm=_KeyedHmac(),
        )
        self._derived = {secret: Signer.derive_key(self, secret) for secret in self.secret_keys}

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        """Return the key that signs under a secret; the newest one unless given."""
        if isinstance(secret_key, str):
            secret_key = secret_key.encode()
        return self._derived[self.secret_keys[-1] if secret_key is None else secret_key]


class _KeyedHmac(SigningAlgorithm):
    """HMAC-SHA-256 whose state after the key is kept."""

    def __init__(self) -> None:
        self._keyed: dict[bytes, hmac.HMAC] = {}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """Return the signature of a value."""
        keyed = self._keyed.get(key)
        if keyed is None:
            keyed = self._keyed[key] = hmac.new(key, digestmod=hashlib.sha256)
        mac = keyed.copy()
        mac.update(value)
        return mac.digest()
