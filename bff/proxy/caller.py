"""What upstreams are told of a request: who asks, through whom, and under which id. Pure.

Rules: scheme and host are those of BFF_BASE_URL, never of the request; our member of `Via` is a
pseudonym that tells one deployment from another, so that a request that comes back is known.

Source: RFC 9110 section 7.6.3; contract, section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from bff.errors import Code, Problem
from bff.proxy.headers import Caller
from bff.proxy.route import Route
from bff.proxy.wire import Address


class Callers:
    """Makes what upstreams are told, for one deployment."""

    def __init__(self, own_origin: str) -> None:
        parts = urlsplit(own_origin)
        self._proto = parts.scheme.encode("ascii")
        self._host = parts.netloc.encode("ascii")
        pseudonym = hashlib.sha256(own_origin.encode()).hexdigest()[:12]
        self._pseudonym = b"bff-" + pseudonym.encode("ascii")
        self._via = b"1.1 " + self._pseudonym

    def of(self, route: Route, scope: MutableMapping[str, Any]) -> Caller:
        """Return what the upstream of a route is told. Raises Problem for our own request."""
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
