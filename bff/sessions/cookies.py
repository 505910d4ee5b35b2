"""The two cookies: names, values, attributes (contract, section 4; RFC 6265bis). Pure.

A value is 256 random bits and a signature (itsdangerous, HMAC-SHA-256). The signature lets us turn
away guesses without asking Redis; it carries no meaning otherwise. A value that this process wrote,
or once found to be signed by us, needs no second look while it lives: its secrets do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from itsdangerous import BadSignature
from itsdangerous.encoding import base64_decode, base64_encode

from bff.base64url import base64url
from bff.sessions.signer import KeyedSigner

ID_BYTES = 32
ID_CHARS = 43
MAX_VALUE = 128
LOGIN_MAX_AGE = 600
REMEMBERED = 8192


class Cookie:
    """One of our cookies: how it is named, written and read."""

    def __init__(
        self, name: str, secrets: Sequence[str], attributes: str, max_age: int | None = None
    ) -> None:
        self.name = name
        self._needle = name.encode()
        self._signer = KeyedSigner(
            [secret.encode() for secret in reversed(secrets)], b"bff cookie " + name.encode()
        )
        self._attributes = attributes
        self._max_age = "" if max_age is None else f"; Max-Age={max_age}"
        # Only good values stay: what raises is not remembered, so guesses push nothing out.
        self._verified = lru_cache(maxsize=REMEMBERED)(self._verify)
        self._issued: dict[bytes, str] = {}

    def issue(self, random: bytes) -> tuple[str, str]:
        """Return a new id made of 32 random bytes, and the Set-Cookie value that carries it."""
        identifier = base64url(random)
        return identifier, self.renew(identifier)

    def renew(self, identifier: str) -> str:
        """Return the Set-Cookie value for an id that the browser has already."""
        value = self._signer.sign(identifier)
        self._issued[value] = identifier
        if len(self._issued) > REMEMBERED:
            del self._issued[next(iter(self._issued))]
        return f"{self.name}={value.decode()}; {self._attributes}{self._max_age}"

    def clear(self) -> str:
        """Return the Set-Cookie value that removes the cookie."""
        return f"{self.name}=; {self._attributes}; Max-Age=0"

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the id in the request's cookie; None if absent, forged, or not exactly one.

        Two different values of one name mean that somebody else could write cookies for this host;
        neither is believed.
        """
        return self.believed(self.values(headers))

    def believed(self, values: Sequence[bytes]) -> str | None:
        """Return the id in the values that `values` found, as `read` does."""
        if not values or (len(values) > 1 and len(set(values)) > 1):
            return None
        try:
            return self._verified(values[0])
        except BadSignature:
            return None

    def _verify(self, value: bytes) -> str:
        """Return the id in a cookie's value. Raises BadSignature unless it is one that we wrote."""
        issued = self._issued.pop(value, None)
        if issued is not None:
            return issued
        if len(value) > MAX_VALUE:
            raise BadSignature("too long")
        identifier = self._signer.unsign(value)
        # Base64 is read leniently; only the one spelling that we wrote is ours.
        signature = value.rpartition(b".")[2]
        if base64_encode(base64_decode(signature)) != signature or len(identifier) != ID_CHARS:
            raise BadSignature("not as we write it")
        return identifier.decode()

    def values(self, headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Return the values of all cookies of this name, good or bad."""
        found: list[bytes] = []
        for name, value in headers:
            if name == b"cookie":
                found += self.values_in(value)
        return found

    def values_in(self, line: bytes) -> list[bytes]:
        """Return the values of this name in one `Cookie` field."""
        needle = self._needle
        found: list[bytes] = []
        if needle in line:
            for pair in line.split(b";"):
                left, _, right = pair.partition(b"=")
                if left.strip(b" \t") == needle:
                    found.append(right.strip(b" \t"))
        return found


def session_cookie(secrets: Sequence[str], *, loopback_http: bool, same_site: str) -> Cookie:
    """Return the session cookie: no Domain, no Max-Age, unreadable to scripts."""
    strictness = f"SameSite={same_site.capitalize()}"
    if loopback_http:
        return Cookie("bff", secrets, f"Path=/; HttpOnly; {strictness}")
    return Cookie("__Host-Http-bff", secrets, f"Path=/; HttpOnly; Secure; {strictness}")


def login_cookie(secrets: Sequence[str], *, loopback_http: bool, form_post: bool) -> Cookie:
    """Return the cookie that binds logins to their browser; a form_post comes from another site."""
    name = "bff-login" if loopback_http else "__Host-Http-bff-login"
    strictness = "SameSite=None" if form_post else "SameSite=Lax"
    secure = "" if loopback_http and not form_post else "; Secure"
    return Cookie(name, secrets, f"Path=/; HttpOnly{secure}; {strictness}", LOGIN_MAX_AGE)
