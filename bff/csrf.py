"""Is this request from our own page? (contract, section 5). Pure.

The browser itself says where a request comes from, in fields that no page can set. In this order:

1. One of these fields given twice: refused, whichever of the two another reader would believe.
2. `Sec-Fetch-Site` (Fetch Metadata): `same-origin`, or `none` for a GET that the user typed; or an
   `Origin` that is exactly one of BFF_ALLOWED_ORIGINS.
3. Without it, `Origin` (RFC 6454): ours, or an allowed one. `null` and the empty one are nobody's.
4. Without both, `X-CSRF: 1`: no page of another site can send it without asking us first by CORS.
"""

from __future__ import annotations

from collections.abc import Iterable

_WITNESSES = frozenset({b"sec-fetch-site", b"origin", b"x-csrf"})


def check(
    method: str, headers: Iterable[tuple[bytes, bytes]], *, own_origin: str, allowed: frozenset[str]
) -> bool:
    """Return whether a request, or a WebSocket handshake, was made by our own page.

    Header names are in lower case. `own_origin` and `allowed` are origins as browsers write them.
    """
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WITNESSES:
            if name in said:
                return False
            said[name] = value
    site = said.get(b"sec-fetch-site")
    origin = said.get(b"origin")
    if site is not None:
        if site == b"same-origin" or (site == b"none" and method == "GET"):
            return True
        return origin is not None and origin.decode("latin-1") in allowed
    if origin is not None:
        text = origin.decode("latin-1")
        return text == own_origin or text in allowed
    return said.get(b"x-csrf") == b"1"
