"""Seal: authenticated encryption of everything kept in Redis, under BFF_SECRET.

From each secret HKDF-SHA-256 (RFC 5869) derives one key a purpose; from that, HMAC-SHA-256 derives
one key a record, named by the Redis key, so that random 96-bit nonces never wear out a key however
many records there are (NIST SP 800-38D, 8.3). The cipher is AES-256-GCM with the Redis key as
associated data: a sealed value moved to another key does not open.

Layout: format version (1 byte), key id (4), nonce (12), ciphertext and tag.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
KEY_ID = 4
NONCE = 12
HEAD = len(VERSION) + KEY_ID + NONCE
TAG = 16

Randomness = Callable[[int], bytes]


class BrokenSealError(Exception):
    """The bytes were not sealed by any of our secrets, for this purpose, under this key."""


def derive(secret: str, purpose: str) -> bytes:
    """Return the 32-byte key of one purpose (HKDF-SHA-256; the secret has entropy enough)."""
    hkdf = HKDF(hashes.SHA256(), 32, salt=b"bff", info=purpose.encode())
    return hkdf.derive(secret.encode())


class Sealer:
    """Seals and opens the values of one purpose. The first secret seals, all of them open."""

    def __init__(
        self, secrets: Sequence[str], purpose: str, randomness: Randomness = os.urandom
    ) -> None:
        keys = [derive(secret, f"seal/{purpose}") for secret in secrets]
        # Each is keyed once, and copied for a record.
        self._keys = {
            hashlib.sha256(b"id" + key).digest()[:KEY_ID]: hmac.new(key, digestmod="sha256")
            for key in reversed(keys)
        }
        self._newest = hashlib.sha256(b"id" + keys[0]).digest()[:KEY_ID]
        self._randomness = randomness

    def seal(self, plain: bytes, key_name: bytes) -> bytes:
        """Return `plain` sealed for the Redis key `key_name`."""
        nonce = self._randomness(NONCE)
        head = VERSION + self._newest + nonce
        return head + self._cipher(self._newest, key_name).encrypt(nonce, plain, head + key_name)

    def open(self, sealed: bytes, key_name: bytes) -> bytes:
        """Return what was sealed. Raises BrokenSealError for anything else."""
        key_id = sealed[1 : 1 + KEY_ID]
        if len(sealed) < HEAD + TAG or sealed[:1] != VERSION or key_id not in self._keys:
            raise BrokenSealError
        head, nonce = sealed[:HEAD], sealed[1 + KEY_ID : HEAD]
        try:
            return self._cipher(key_id, key_name).decrypt(nonce, sealed[HEAD:], head + key_name)
        except InvalidTag:
            raise BrokenSealError from None

    def _cipher(self, key_id: bytes, key_name: bytes) -> AESGCM:
        derived = self._keys[key_id].copy()
        derived.update(key_name)
        return AESGCM(derived.digest())
