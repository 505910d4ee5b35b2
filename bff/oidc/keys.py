"""Keys of the provider, and the one question asked of them: who signed this? Pure.

Rules (protocol notes T2, T3, T5; RFC 7515, 7517, 8725):
- keys are read one by one; one that we cannot use hides no other;
- the algorithm is the configured one, never what the token or the metadata says;
- a key is a candidate only if type, curve, `use`, `key_ops` and `alg` allow it, then by `kid`;
- a token without `kid` is tried against all candidates, of which there may be few;
- header members that name keys (`jku`, `x5u`, `jwk`, `x5c`) are never looked at; `crit` is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from bff.issuers import key_speaks_for
from bff.oidc.json import BadJsonError, is_array, is_object, parse_object

MAX_TOKEN = 65_536
MAX_KEYS = 100
MAX_TRIED = 8
MIN_RSA_BITS = 2048

KEY_TYPE: dict[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None), "RS384": ("RSA", None), "RS512": ("RSA", None),
    "PS256": ("RSA", None), "PS384": ("RSA", None), "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"), "Ed25519": ("OKP", "Ed25519"),
}  # fmt: skip
SAME_ALGORITHM = {"Ed25519": "EdDSA"}

Key = RSAKey | ECKey | OKPKey | OctKey


class BadTokenError(Exception):
    """A JWT that is not believed; `reason` is a stable word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKeyError(BadTokenError):
    """No key that we hold made this signature; a newer set of keys might hold one that did."""


class OneAlgorithm(jws.JWSRegistry):
    """The library's registry with one algorithm: ours to choose, so its advice is not needed."""

    max_header_length = MAX_TOKEN

    def __init__(self, alg: str) -> None:
        super().__init__(algorithms=[alg], strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """Return the algorithm of this name, if it is the one."""
        if self.allowed is None or name not in self.allowed:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key of the provider, and what its owner says it is for.

    `issuer` is a member that Microsoft gives its keys: for which tenants they sign.
    """

    kid: str | None
    kty: str
    crv: str | None
    alg: str | None
    key: Key
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A JWT whose signature holds. What it says is still to be judged."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    raw: str


def import_keys(document: Mapping[str, Any]) -> tuple[list[VerificationKey], int]:
    """Return the usable signature keys of a JWK Set (RFC 7517 5), and how many were not usable.

    Raises BadJsonError if it is no JWK Set at all.
    """
    members = document.get("keys")
    if not is_array(members):
        raise BadJsonError("keys")
    found = [_import_key(member) for member in members[:MAX_KEYS]]
    usable = [key for key in found if key is not None]
    return usable, len(members) - len(usable)


def client_secret_key(secret: str) -> VerificationKey:
    """Return the key of HS256: the octets of the client secret (OIDC Core 10.1)."""
    return VerificationKey(None, "oct", None, "HS256", OctKey.import_key(secret.encode()))


def verify(token: str, alg: str, keys: Sequence[VerificationKey]) -> Verified:
    """Return the JWT if one of `keys` signed it with `alg`.

    Raises UnknownKeyError where newer keys might help, BadTokenError where nothing would.
    """
    header = _header(token)
    if header.get("alg") != alg:
        raise BadTokenError("alg")
    if "crit" in header or "b64" in header:
        raise BadTokenError("crit")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise BadTokenError("kid")
    candidates = _candidates(keys, alg, kid)
    if len(candidates) > MAX_TRIED:
        raise BadTokenError("too_many_keys")
    reason = "signature" if candidates else "unknown_key"
    for candidate in candidates:
        payload = _payload(token, header, alg, candidate.key)
        if payload is not None:
            try:
                claims = parse_object(payload)
            except BadJsonError:
                raise BadTokenError("payload") from None
            if key_speaks_for(candidate.issuer, claims):
                return Verified(header, claims, token)
            reason = "key_issuer"
    raise UnknownKeyError(reason)


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a token that was verified when we got it, and sealed since."""
    return _decoded(token.split(".")[1])


def claimed_issuer(token: str) -> object:
    """Return what a token that nobody has verified yet says of its issuer. Raises BadTokenError."""
    _header(token)
    return _decoded(token.split(".")[1]).get("iss")


def decoded_header(token: str) -> dict[str, Any]:
    """Return the header of a JWS or JWE, unverified. Raises BadTokenError."""
    return _decoded(token.partition(".")[0])


def _header(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2:  # noqa: PLR2004
        raise BadTokenError("malformed")
    return decoded_header(token)


def _decoded(part: str) -> dict[str, Any]:
    try:
        padded = part + "=" * (-len(part) % 4)
        return parse_object(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, BadJsonError):
        raise BadTokenError("malformed") from None


def _candidates(
    keys: Sequence[VerificationKey], alg: str, kid: str | None
) -> list[VerificationKey]:
    if alg == "HS256":
        return [key for key in keys if key.kty == "oct"]
    kty, crv = KEY_TYPE[alg]
    fitting = [
        key
        for key in keys
        if key.kty == kty
        and (crv is None or key.crv == crv)
        and (
            key.alg is None or SAME_ALGORITHM.get(key.alg, key.alg) == SAME_ALGORITHM.get(alg, alg)
        )
    ]
    return fitting if kid is None else [key for key in fitting if key.kid == kid]


def _payload(token: str, header: Mapping[str, Any], alg: str, key: Key) -> bytes | None:
    """Return what was signed, if this key signed it: the library's checks, on what is known here.

    Its own way takes the token apart once more, and asks of the key what `_candidates` has settled.
    """
    registry = _registry(alg)
    signed, _, signature = token.encode().rpartition(b".")
    try:
        registry.check_header(dict(header))
        registry.validate_signature_size(signature)
        _, payload = map(urlsafe_b64decode, signed.split(b"."))
        good = registry.get_alg(alg).verify(signed, urlsafe_b64decode(signature), key)
    except (JoseError, ValueError):
        return None
    return payload if good else None


@lru_cache(maxsize=len(KEY_TYPE) + 1)
def _registry(alg: str) -> OneAlgorithm:
    return OneAlgorithm(alg)


def _import_key(member: object) -> VerificationKey | None:
    if not is_object(member):
        return None
    kty, use, operations = member.get("kty"), member.get("use"), member.get("key_ops")
    if use not in (None, "sig"):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    kid, alg, crv, issuer = (member.get(name) for name in ("kid", "alg", "crv", "issuer"))
    if not all(value is None or isinstance(value, str) for value in (kid, alg, crv, issuer)):
        return None
    public: dict[str, Any] = {
        name: member[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in member
    }
    try:
        key = _public_key(kty, crv, public)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if key is None else VerificationKey(kid, str(kty), crv, alg, key, issuer)


def _public_key(kty: Any, crv: str | None, public: dict[str, Any]) -> Key | None:
    if not all(isinstance(value, str) for value in public.values()):
        return None
    if kty == "RSA":
        return RSAKey.import_key(public) if _bits(public["n"]) >= MIN_RSA_BITS else None
    if kty == "EC" and crv in {"P-256", "P-384", "P-521"}:
        return ECKey.import_key(public)
    if kty == "OKP" and crv == "Ed25519":
        return OKPKey.import_key(public)
    return None


def _bits(number: str) -> int:
    """Return the length of a number in base64url (RFC 7518 2, Base64urlUInt)."""
    padded = number + "=" * (-len(number) % 4)
    return int.from_bytes(base64.urlsafe_b64decode(padded), "big").bit_length()
