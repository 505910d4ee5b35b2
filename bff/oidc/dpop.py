"""DPoP proofs: tokens that only we can use, since only we hold the key that they are bound to.

Rules: ES256 alone, a key a session; `htu` is the URL without query and fragment; `ath` whenever an
access token goes with the proof; a fresh `jti` each time; the nonce that the one who is asked gave
last, for each origin its own, so that the provider's and an upstream's are never mixed up. Where an
answer demands a nonce, the request is proven once more with the one of that answer, which nobody
else is told of before it has been used: some nonces are good once.

Source: RFC 9449 sections 4.2 (proof), 7.1 (with a token), 8 and 9 (nonces), RFC 7638 (thumbprint).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bff.base64url import base64url

ALG = "ES256"
SIZE = 32  # bytes of a private key, a coordinate, and each half of a signature
MAX_ORIGINS = 256
MAX_NONCE = 1024
_NQCHAR = frozenset("!#$%&'()*+,-./:;<=>?@[]^_`{|}~") | frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


class ProofKey:
    """A private key for proofs. `secret` is what is kept of it: 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def __eq__(self, other: object) -> bool:
        """Whether it is the same key."""
        return isinstance(other, ProofKey) and other.secret == self.secret

    def __hash__(self) -> int:
        """Return the same for the same key."""
        return hash(self.secret)

    @classmethod
    def generate(cls) -> ProofKey:
        """Return a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key.private_numbers().private_value.to_bytes(SIZE, "big"))

    @classmethod
    def parse(cls, text: str) -> ProofKey:
        """Return the key of which `text` was kept."""
        return cls(base64.urlsafe_b64decode(text + "="))

    @property
    def text(self) -> str:
        """What is kept of it, as base64url: to be sealed."""
        return base64url(self.secret)

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        # Derived when it is first needed: not every reading of a session signs something.
        return ec.derive_private_key(int.from_bytes(self.secret, "big"), ec.SECP256R1())

    @cached_property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7518 6.2.1)."""
        numbers = self._key.public_key().public_numbers()
        x, y = (base64url(value.to_bytes(SIZE, "big")) for value in (numbers.x, numbers.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    @cached_property
    def jkt(self) -> str:
        """The thumbprint that tokens are bound to, and `dpop_jkt` names (RFC 9449 6 and 10)."""
        return base64url(hashlib.sha256(_json(self.jwk)).digest())

    def proof(
        self,
        method: str,
        url: str,
        *,
        now: float,
        jti: str,
        access_token: str | None = None,
        nonce: str | None = None,
    ) -> str:
        """Return a proof for one request (RFC 9449 4.2). `jti` must never have been used."""
        claims: dict[str, str | int] = {
            "jti": jti, "htm": method, "htu": target_of(url), "iat": int(now),
        }  # fmt: skip
        if access_token is not None:
            claims["ath"] = base64url(hashlib.sha256(access_token.encode("ascii")).digest())
        if nonce is not None:
            claims["nonce"] = nonce
        signed = self._header + b"." + base64url(_json(claims)).encode("ascii")
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(SIZE, "big") + s.to_bytes(SIZE, "big")
        return f"{signed.decode('ascii')}.{base64url(signature)}"

    @cached_property
    def _header(self) -> bytes:
        return base64url(_json({"alg": ALG, "jwk": self.jwk, "typ": "dpop+jwt"})).encode("ascii")


class Nonces:
    """The nonce that each origin gave last; bounded, oldest out first (RFC 9449 8.2)."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, str] = OrderedDict()

    def of(self, url: str) -> str | None:
        """Return the nonce to use at a URL, if its origin ever gave one."""
        return self._last.get(_origin(url))

    def note(self, url: str, nonce: str | None) -> None:
        """Keep what an answer's `DPoP-Nonce` field says, if it can be used."""
        if nonce is None or not is_nonce(nonce):
            return
        origin = _origin(url)
        self._last[origin] = nonce
        self._last.move_to_end(origin)
        if len(self._last) > MAX_ORIGINS:
            self._last.popitem(last=False)


class Prover:
    """Proves one request, and proves it anew when it is sent again: once, for a nonce."""

    def __init__(
        self,
        key: ProofKey,
        nonces: Nonces,
        method: str,
        access_token: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        jti: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self._key = key
        self._nonces = nonces
        self._method = method
        self._access_token = access_token
        self._clock = clock
        self._jti = jti
        self._url = ""
        self._used: str | None = None
        self._given: tuple[str, str] | None = None

    def proof(self, url: str) -> str:
        """Return the value of the `DPoP` field for sending the request to `url`, once."""
        self._url = url
        self._used = self._nonces.of(url)
        if self._given is not None and self._given[0] == _origin(url):
            self._used = self._given[1]
        return self._key.proof(
            self._method,
            url,
            now=self._clock(),
            jti=self._jti(),
            access_token=self._access_token,
            nonce=self._used,
        )

    def heard(self, nonce: str | None, *, demanded: bool) -> bool:
        """Keep the `DPoP-Nonce` of the answer; whether the request is to be sent again with it.

        That is so where the answer `demanded` one, for the first time, and not the one it got.
        """
        if nonce is not None and not is_nonce(nonce):
            nonce = None
        if demanded and self._given is None and nonce not in (None, self._used):
            self._given = (_origin(self._url), str(nonce))
            return True
        if nonce is None and self._given is not None:
            nonce = self._given[1]
        self._nonces.note(self._url, nonce)
        return False


def is_nonce(value: str) -> bool:
    """Whether it is one (RFC 9449 8.1: NQCHAR), and not too long."""
    return 0 < len(value) <= MAX_NONCE and _NQCHAR.issuperset(value)


def target_of(url: str) -> str:
    """Return `htu`: the URL without query and fragment (RFC 9449 4.2)."""
    return url.partition("#")[0].partition("?")[0]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")
