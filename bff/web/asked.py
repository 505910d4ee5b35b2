"""What the browser asked of the reverse proxy, as the proxy tells it to `/bff/auth`. Pure.

Each proxy has its own way: nginx sends what its configuration names (`X-Original-URI` and
`X-Original-Method` here; ingress-nginx a whole `X-Original-URL`), Caddy and Traefik send
`X-Forwarded-Uri` and `X-Forwarded-Method`, Envoy appends the path to `/bff/auth` and keeps the
method. Whatever way it is, it must be the only one: a browser can send the fields of the proxies
that are not there, and most proxies pass them on.

The path is not decoded, joined or repaired here: it is judged as it came, like that of a request to
a route. So the proxy must send the bytes that it also sends to its upstream.

Source: the four proxies' own documentation; CVE-2026-40575 for what comes of believing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from bff.errors import Code, Problem

HERE = b"/bff/auth"
TARGETS = frozenset({b"x-original-uri", b"x-original-url", b"x-forwarded-uri"})
METHODS = frozenset({b"x-original-method", b"x-forwarded-method"})


class Asked(NamedTuple):
    """A request as the browser made it; `query` with its question mark, or empty."""

    method: str
    path: bytes
    query: bytes

    def login_url(self, login_url: str) -> str:
        """Return a login URL with the way back here."""
        glue = "&" if "?" in login_url else "?"
        return f"{login_url}{glue}return_to={quote(self.path + self.query, safe='/')}"


def asked_of_proxy(
    headers: Sequence[tuple[bytes, bytes]],
    method: str,
    raw_path: bytes,
    query: bytes,
    *,
    origin: str,
) -> Asked | None:
    """Return what the browser asked for; None where the proxy does not tell.

    `method`, `raw_path` and `query` are those of the proxy's own request. Header names are in lower
    case. `origin` is ours; a whole URL of it counts as its path. Raises bad_request where the
    request tells it twice.
    """
    targets = [value for name, value in headers if name in TARGETS]
    methods = [value for name, value in headers if name in METHODS]
    if raw_path.startswith(HERE + b"/"):
        appended = raw_path.removeprefix(HERE)
        targets.append(b"?".join((appended, query)) if query else appended)
        methods.append(method.encode("latin-1"))
    if len(targets) > 1 or len(methods) > 1:
        raise Problem(Code.BAD_REQUEST, "told_twice")
    if not targets:
        return None
    path, mark, rest = targets[0].removeprefix(origin.encode()).partition(b"?")
    return Asked(methods[0].decode("latin-1") if methods else "GET", path, mark + rest)
