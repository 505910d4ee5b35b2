"""The fields of requests to upstreams: those that pass, and who asks, through whom, under which id.

Rules: scheme and host are those of BFF_BASE_URL, never of the request; our member of `Via` is a
pseudonym that tells one deployment from another, so that a request that comes back is known. Pure.

Source: RFC 9110 section 7.6.3; contract, section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from bff.errors import Code, Problem
from bff.proxy.headers import Caller, Headers, OwnCookies, request_headers
from bff.proxy.route import Route
from bff.proxy.wire import Address


class Callers:
    """Makes what upstreams are told, for one deployment."""

    def __init__(self, own_origin: str, own_cookies: OwnCookies) -> None:
        parts = urlsplit(own_origin)
        self._proto = parts.scheme.encode("ascii")
        self._host = parts.netloc.encode("ascii")
        pseudonym = hashlib.sha256(own_origin.encode()).hexdigest()[:12]
        self._pseudonym = b"bff-" + pseudonym.encode("ascii")
        self._via = b"1.1 " + self._pseudonym
        self._own_cookies = own_cookies

    def fields(
        self, route: Route, scope: MutableMapping[str, Any], authorization: bytes | None
    ) -> Headers:
        """Return the fields for the upstream of a route. Raises Problem for our own request."""
        return request_headers(
            scope["headers"],
            self._of(route, scope),
            authorization=authorization,
            own_cookies=self._own_cookies,
            keep_cookies=route.cookies,
            let=route.pass_request_headers,
        )

    def _of(self, route: Route, scope: MutableMapping[str, Any]) -> Caller:
        for name, value in scope["headers"]:
            if name == b"via" and self._pseudonym in value:
                raise Problem(Code.LOOP_DETECTED, "own_via")
        state = scope["state"]
        return Caller(
            _authority(route.upstream),
            self._via,
            state["client"].encode("ascii"),
            self._proto,
            self._host,
            state["request_id"].encode("ascii"),
        )


@lru_cache(maxsize=1024)
def _authority(address: Address) -> bytes:
    return address.authority
