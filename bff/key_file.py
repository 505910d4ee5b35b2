"""`bff keys`: makes, shows and rotates the file of the client's private keys.

The file is a JWK Set (RFC 7517 5) that only its owner may read. Of each kind it holds, in this
order, the key in use, the next one, and after a rotation the last one. A rotation moves each a step
on, so that no key is used before every machine had it and the provider could fetch it, and none
goes while it may still be used (docs/clients.md).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from bff.oidc.client_keys import (
    CURVE_ALGORITHMS,
    CURVE_ENCRYPTION,
    BadClientKeyError,
    ClientKeys,
    PrivateKey,
    parse_keys,
)

RSA_BITS = 2048
CURVES = {alg: curve for curve, algs in CURVE_ALGORITHMS.items() for alg in algs}
USUAL_ENCRYPTION = {"RSA": "RSA-OAEP-256", "EC": "ECDH-ES", "OKP": "ECDH-ES"}
Members = list[dict[str, Any]]


def read(path: Path) -> ClientKeys:
    """Return the keys of a file. Raises BadClientKeyError."""
    return parse_keys(_bytes(path))


def make(path: Path, alg: str, encryption: str | None) -> ClientKeys:
    """Write a new file with two keys of each kind wanted. Raises BadClientKeyError, OSError."""
    members = [new_key("sig", alg), new_key("sig", alg)]
    if encryption is not None:
        members += [new_key("enc", encryption), new_key("enc", encryption)]
    return _write(path, members)


def rotate(path: Path, alg: str | None) -> ClientKeys:
    """Move every key a step on; the new key for signatures is for `alg`, or for that of its like.

    Raises BadClientKeyError, OSError.
    """
    signing, encryption = _members(path)
    return _write(path, rotated(signing, "sig", alg) + rotated(encryption, "enc", None))


def add_encryption(path: Path, alg: str) -> ClientKeys:
    """Add two keys for encryption to a file that has none. Raises BadClientKeyError, OSError."""
    signing, encryption = _members(path)
    if encryption:
        raise BadClientKeyError("has keys for encryption already")
    return _write(path, [*signing, new_key("enc", alg), new_key("enc", alg)])


def rotated(members: Members, use: str, alg: str | None) -> Members:
    """Return one kind of keys a step on: next, new, last. One key alone gets a next one first."""
    if not members:
        return []
    like = members[min(1, len(members) - 1)]
    fresh = new_key(use, alg or like.get("alg") or USUAL_ENCRYPTION[like["kty"]])
    return [members[1], fresh, members[0]] if len(members) > 1 else [members[0], fresh]


def new_key(use: str, alg: str) -> dict[str, Any]:
    """Return a new private key as a JWK; its name is its thumbprint (RFC 7638)."""
    key: PrivateKey
    if alg in CURVES:
        curve = CURVES[alg]
        key = OKPKey.generate_key("Ed25519") if curve == "Ed25519" else ECKey.generate_key(curve)
    elif alg in CURVE_ENCRYPTION:
        key = ECKey.generate_key("P-256")
    else:
        key = RSAKey.generate_key(RSA_BITS)
    key.ensure_kid()
    return {**key.as_dict(private=True), "use": use, "alg": alg}


def _members(path: Path) -> tuple[Members, Members]:
    """Return the keys for signatures and those for encryption, as they stand in the file."""
    data = _bytes(path)
    keys = parse_keys(data)
    if not data.lstrip().startswith(b"{"):
        raise BadClientKeyError("is PEM: only a JWK Set, as `bff keys` makes it, can be changed")
    signing = [
        {**one.key.as_dict(private=True), "use": "sig", "alg": one.alg} for one in keys.signing
    ]
    encryption = [{**one.key.as_dict(private=True), "use": "enc"} for one in keys.decryption]
    return signing, encryption


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise BadClientKeyError("cannot be read") from None


def _write(path: Path, members: Members) -> ClientKeys:
    data = json.dumps({"keys": members}, indent=2).encode() + b"\n"
    keys = parse_keys(data)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    beside.replace(path)
    return keys
