"""The cookies of one browser, for tests.

Purpose: keep and send cookies as a browser does, where `http.cookiejar` does not: `Secure` works
on loopback http, `SameSite` and the `__Host-` prefixes are obeyed, ports are no boundary.
Rules: a cookie that a browser would refuse is refused here; `refused` tells why.
Source: RFC 6265bis (draft-ietf-httpbis-rfc6265bis), sections 5.6 to 5.8, and layered cookies for
the prefix `__Host-Http-`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.fetch_rules import is_trustworthy, is_under

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class BrowserCookie:
    """One stored cookie. `expires` is in seconds of the jar's clock; None: until the end."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    http_only: bool
    same_site: str
    expires: float | None

    def fits(self, host: str, path: str, *, trustworthy: bool) -> bool:
        """Whether this cookie goes to that place (sections 5.1.3 and 5.1.4)."""
        if not (host == self.domain or (not self.host_only and is_under(host, self.domain))):
            return False
        if self.secure and not trustworthy:
            return False
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


class CookieJar:
    """Stores what answers set, and says what a request or a script gets."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._cookies: dict[tuple[str, str, str], BrowserCookie] = {}
        self.refused: list[str] = []

    def all(self) -> list[BrowserCookie]:
        """Every living cookie, longest path first, older before newer (section 5.8.3)."""
        now = self._clock()
        living = [c for c in self._cookies.values() if c.expires is None or c.expires > now]
        return sorted(living, key=lambda cookie: -len(cookie.path))

    def get(self, name: str) -> str | None:
        """The value of the first cookie of that name, wherever it belongs to."""
        return next((cookie.value for cookie in self.all() if cookie.name == name), None)

    def clear(self) -> None:
        """Forget everything, as a new browser profile."""
        self._cookies.clear()

    def header(self, url: str, *, same_site: bool = True, lax_allowed: bool = False) -> str:
        """The `Cookie` field for a request, empty if there is none to send.

        `same_site`: the request comes from the same site; `lax_allowed`: it does not, but is a
        navigation of the top-level window by a safe method.
        """
        sent = [
            cookie
            for cookie in self._at(url)
            if same_site
            or cookie.same_site == "none"
            or (lax_allowed and cookie.same_site == "lax")
        ]
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent)

    def readable(self, url: str) -> dict[str, str]:
        """What a script of that page reads in `document.cookie`."""
        return {cookie.name: cookie.value for cookie in self._at(url) if not cookie.http_only}

    def store(self, url: str, field: str) -> None:
        """Take one `Set-Cookie` field of an answer from that URL (section 5.7)."""
        cookie, fault = self._parse(url, field)
        if cookie is None:
            self.refused.append(f"{field.partition('=')[0]}: {fault}")
            return
        key = (cookie.name, cookie.domain, cookie.path)
        if cookie.expires is not None and cookie.expires <= self._clock():
            self._cookies.pop(key, None)
        else:
            self._cookies[key] = cookie

    def _at(self, url: str) -> list[BrowserCookie]:
        parts = urlsplit(url)
        host, path, trustworthy = parts.hostname or "", parts.path or "/", is_trustworthy(url)
        return [c for c in self.all() if c.fits(host, path, trustworthy=trustworthy)]

    def _parse(self, url: str, field: str) -> tuple[BrowserCookie | None, str]:
        pair, *rest = field.split(";")
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            return None, "no name"
        attributes: dict[str, str] = {}
        for attribute in rest:
            key, _, argument = attribute.partition("=")
            attributes[key.strip().lower()] = argument.strip()
        host, path = urlsplit(url).hostname or "", urlsplit(url).path
        domain = attributes.get("domain", "").lower().removeprefix(".")
        if domain and host != domain and not is_under(host, domain):
            return None, "Domain of another host"
        cookie = BrowserCookie(
            name=name,
            value=value,
            domain=domain or host,
            host_only=not domain,
            path=attributes["path"]
            if attributes.get("path", "").startswith("/")
            else default(path),
            secure="secure" in attributes,
            http_only="httponly" in attributes,
            same_site=attributes.get("samesite", "lax").lower(),
            expires=self._expiry(attributes),
        )
        return self._judge(cookie, url)

    def _judge(self, cookie: BrowserCookie, url: str) -> tuple[BrowserCookie | None, str]:
        if cookie.secure and not is_trustworthy(url):
            return None, "Secure over plain http"
        if cookie.same_site == "none" and not cookie.secure:
            return None, "SameSite=None without Secure"
        bound = cookie.secure and cookie.host_only and cookie.path == "/"
        if cookie.name.lower().startswith("__host-") and not bound:
            return None, "__Host- needs Secure, Path=/ and no Domain"
        if cookie.name.lower().startswith("__host-http-") and not cookie.http_only:
            return None, "__Host-Http- needs HttpOnly"
        return cookie, ""

    def _expiry(self, attributes: dict[str, str]) -> float | None:
        if "max-age" in attributes:
            return self._clock() + int(attributes["max-age"])
        if "expires" in attributes:
            return parsedate_to_datetime(attributes["expires"]).timestamp()
        return None


def default(path: str) -> str:
    """The default path of a cookie (section 5.1.4)."""
    return path[: path.rindex("/")] or "/" if path.startswith("/") else "/"
