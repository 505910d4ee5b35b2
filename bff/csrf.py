"""Is this request from our own page? (contract, section 5). Pure.

Replaced by the proxy helper.
"""

from __future__ import annotations

from collections.abc import Iterable


def check(
    method: str, headers: Iterable[tuple[bytes, bytes]], *, own_origin: str, allowed: frozenset[str]
) -> bool:
    """Whether a request was made by our own page."""
    site: list[bytes] = []
    origin: list[bytes] = []
    mark: list[bytes] = []
    for name, value in headers:
        if name == b"sec-fetch-site":
            site.append(value)
        elif name == b"origin":
            origin.append(value)
        elif name == b"x-csrf":
            mark.append(value)
    if len(site) > 1 or len(origin) > 1:
        return False
    if origin and origin[0].decode("latin-1") in allowed:
        return True
    if site:
        return site[0] == b"same-origin" or (site[0] == b"none" and method == "GET")
    if origin:
        return origin[0].decode("latin-1") == own_origin
    return mark == [b"1"]
