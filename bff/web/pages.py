"""How answers of our own look: pages, JSON, redirects, and the security headers of each kind.

A page has no script, one style under a nonce, and is never framed; but for the one that tells its
opener how a silent sign-in went. JSON can be read by this origin alone. Nothing of ours is ever
stored by a cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response

from bff.base64url import base64url

HERE = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
ESCAPE = cast("Callable[[str], str]", TEMPLATES.filters["escape"])
PAGE_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors {ancestors}"
)
MARKS = ("\x01", "\x02")  # no template has them
JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
REDIRECT = [
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"referrer-policy", b"no-referrer"),
]
PAGE = [
    *REDIRECT,
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
NEVER_FRAMED = (b"x-frame-options", b"DENY")


class Ready(Response):
    """An answer whose fields are as they go out, but for the length of its body."""

    def __init__(self, body: bytes, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        # Not by Starlette's own, which makes these of others.
        self.body = body
        self.status_code = status
        self.background = None
        self.raw_headers = [*fields, (b"content-length", b"%d" % len(body))]


def page(
    template: str,
    status: int = 200,
    /,
    *,
    headers: Mapping[str, str] | None = None,
    ancestors: str = "'none'",
    script: bool = False,
    **values: object,
) -> Response:
    """Return a page made of a template. `ancestors` says who may frame it (CSP Level 3).

    With `script` the one that the template has may run.
    """
    nonce = base64url(os.urandom(16))
    body = TEMPLATES.get_template(template).render(nonce=nonce, **values)
    return _page(body, nonce, status, headers, ancestors, script=script)


def hop(return_to: str) -> Response:
    """Return the page that leads on after a sign-in, to a path on this origin.

    It is the same each time but for two values, so it is rendered once, with marks in their place.
    """
    nonce = base64url(os.urandom(16))
    body = _hop().replace(MARKS[0], nonce).replace(MARKS[1], ESCAPE(return_to))
    return _page(body, nonce, 200, None, "'none'", script=False)


@cache
def _hop() -> str:
    return TEMPLATES.get_template("hop.html").render(nonce=MARKS[0], return_to=MARKS[1])


def _page(
    body: str,
    nonce: str,
    status: int,
    headers: Mapping[str, str] | None,
    ancestors: str,
    *,
    script: bool,
) -> Response:
    policy = PAGE_POLICY.format(nonce=nonce, ancestors=ancestors)
    if script:
        policy += f"; script-src 'nonce-{nonce}'"
    fields = [*PAGE, (b"content-security-policy", policy.encode("latin-1"))]
    if ancestors == "'none'":
        fields.append(NEVER_FRAMED)
    answer = Ready(body.encode(), status, fields)
    for name, value in (headers or {}).items():
        answer.headers[name] = value
    return answer


def json_answer(
    value: Mapping[str, Any],
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Return a JSON answer that no cache keeps and no other origin embeds."""
    return Response(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(),
        status,
        {
            **NO_STORE,
            "Content-Security-Policy": JSON_POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            **(headers or {}),
        },
        media_type=media_type,
    )


def redirect(url: str, *, status: int = 303) -> Response:
    """Return a redirect. `url` must be made of settings and discovery, or judged before."""
    return Ready(b"", status, [*REDIRECT, (b"location", url.encode("latin-1"))])


def wants_page(headers: Mapping[str, str]) -> bool:
    """Whether a person's browser navigates here, so that a page is the right answer."""
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in headers.get("accept", "")


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
