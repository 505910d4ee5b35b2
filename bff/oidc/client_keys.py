"""Our own private keys: what BFF_CLIENT_KEY_FILE holds, and what of it the world may see. Pure.

Rules (RFC 7517, 7518, 9864; FAPI 2.0 5.4):
- PEM blocks are keys for signatures; a JWK says by `use` or `key_ops` what it is for, and without
  either it is for signatures;
- the first key for signatures signs; all of them are published, so that the provider knows the next
  one before it signs, and the last one as long as a machine may still sign with it;
- every key for encryption opens what comes, and only the first is published, so that every machine
  has the next one before the provider can use it;
- each key is used for one thing, has one name, and is long enough.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from bff.oidc.json import is_array, parse_object

PrivateKey = RSAKey | ECKey | OKPKey

MAX_OWN_KEYS = 8
UNREADABLE = (
    JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError,
    RecursionError,
)  # fmt: skip
MIN_RSA_BITS = 2048
PEM_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
KEY_TYPES: dict[str, type[PrivateKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVE_ALGORITHMS = {
    "P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA", "Ed25519"),
}  # fmt: skip
RSA_ENCRYPTION = frozenset({"RSA-OAEP", "RSA-OAEP-256"})
CURVE_ENCRYPTION = frozenset({"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"})
ENCRYPTION_CURVES = frozenset({"P-256", "P-384", "P-521", "X25519"})


class BadClientKeyError(ValueError):
    """BFF_CLIENT_KEY_FILE holds something that is no key of ours; the text ends a sentence."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs, and its algorithm (RFC 7518 3.1)."""

    key: PrivateKey
    alg: str


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """A key that opens what was encrypted for us, and the algorithms it may be used with."""

    key: PrivateKey
    algs: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """All our keys. The first of each kind is the one in use."""

    signing: tuple[SigningKey, ...] = ()
    decryption: tuple[DecryptionKey, ...] = ()

    @property
    def signer(self) -> SigningKey | None:
        """The key that signs."""
        return self.signing[0] if self.signing else None

    def published(self) -> list[dict[str, Any]]:
        """Return the public halves as JWKs (RFC 7517 5), each with `kid`, `use` and `alg`."""
        keys = [public_jwk(one.key, "sig", one.alg) for one in self.signing]
        for one in self.decryption[:1]:
            alg = next(iter(one.algs)) if len(one.algs) == 1 else None
            keys.append(public_jwk(one.key, "enc", alg))
        return keys


def public_jwk(key: PrivateKey, use: str, alg: str | None) -> dict[str, Any]:
    """Return the public half of a key as a JWK."""
    members = {"kty", "crv", "x", "y", "n", "e", "kid"}
    public = {name: value for name, value in key.as_dict(private=False).items() if name in members}
    return {**public, "use": use} if alg is None else {**public, "use": use, "alg": alg}


def load_keys(path: Path) -> ClientKeys:
    """Return the keys in a file of PEM, JWK or JWK Set. Raises BadClientKeyError."""
    try:
        data = path.read_bytes()
    except OSError:
        raise BadClientKeyError("cannot be read") from None
    return parse_keys(data)


def parse_keys(data: bytes) -> ClientKeys:
    """Return the keys in PEM, JWK or JWK Set. Raises BadClientKeyError."""
    try:
        with warnings.catch_warnings():  # of short keys, which are refused below
            warnings.simplefilter("ignore")
            found = _from_json(data) if data.lstrip().startswith(b"{") else _from_pem(data)
    except UNREADABLE as error:
        if isinstance(error, BadClientKeyError):
            raise
        raise BadClientKeyError("is no private key in PEM, JWK or JWK Set form") from None
    if not 0 < len(found) <= MAX_OWN_KEYS:
        raise BadClientKeyError(f"must hold one to {MAX_OWN_KEYS} private keys")
    signing: list[SigningKey] = []
    decryption: list[DecryptionKey] = []
    for key in found:
        if not key.is_private:
            raise BadClientKeyError("holds a public key where a private one must be")
        private = key.private_key
        if isinstance(private, RSAPrivateKey) and private.key_size < MIN_RSA_BITS:
            raise BadClientKeyError(f"has an RSA key of less than {MIN_RSA_BITS} bits")
        key.ensure_kid()
        if is_for_encryption(key):
            decryption.append(DecryptionKey(key, encryption_algorithms(key)))
        else:
            signing.append(SigningKey(key, signing_algorithm(key)))
    names = [key.kid for key in found]
    if len(set(names)) != len(names):
        raise BadClientKeyError("has two keys of one name (kid)")
    return ClientKeys(tuple(signing), tuple(decryption))


def is_for_encryption(key: PrivateKey) -> bool:
    """Whether a key says that it is for encryption, by `use` or else by `key_ops`."""
    use, operations = key.get("use"), key.get("key_ops")
    if use is None and is_array(operations):
        return "sign" not in operations
    return use == "enc"


def signing_algorithm(key: PrivateKey) -> str:
    """Return the JWS algorithm of a key: its `alg`, or the usual one (RFC 7518 3.1, RFC 9864).

    Raises BadClientKeyError.
    """
    alg = key.get("alg")
    if isinstance(key, RSAKey):
        alg = alg or "PS256"
        if alg not in RSA_ALGORITHMS:
            raise BadClientKeyError("has an alg that we do not sign with")
        return str(alg)
    fitting = CURVE_ALGORITHMS.get(key.curve_name or "")
    if fitting is None:
        raise BadClientKeyError("has a curve that we do not sign with")
    if alg not in (None, *fitting):
        raise BadClientKeyError("has an alg that does not fit its curve")
    return str(alg or fitting[0])


def encryption_algorithms(key: PrivateKey) -> frozenset[str]:
    """Return the JWE key algorithms of a key: its `alg`, or all that fit. Raises BadClientKeyError.

    RSA1_5 is none of them (RFC 8725 3.2): it tells strangers about padding.
    """
    if isinstance(key, RSAKey):
        fitting = RSA_ENCRYPTION
    elif key.curve_name in ENCRYPTION_CURVES:
        fitting = CURVE_ENCRYPTION
    else:
        raise BadClientKeyError("has a curve that nothing is encrypted for")
    alg = key.get("alg")
    if alg is None:
        return fitting
    if alg not in fitting:
        raise BadClientKeyError("has an alg that we do not decrypt with")
    return frozenset({str(alg)})


def _from_json(data: bytes) -> list[PrivateKey]:
    document = parse_object(data)
    members = document.get("keys", [document])
    return [KEY_TYPES[member["kty"]].import_key(member) for member in members]


def _from_pem(data: bytes) -> list[PrivateKey]:
    return [_from_block(block.group(0)) for block in PEM_KEY.finditer(data)]


def _from_block(block: bytes) -> PrivateKey:
    for kind in KEY_TYPES.values():
        try:
            return kind.import_key(block)
        except (JoseError, ValueError, TypeError, AttributeError):
            continue
    raise ValueError("pem")
