"""How answers of our own look: pages, JSON, redirects, and the security headers of each kind.

A page has no script, one style under a nonce, and is never framed; but for the one that tells its
opener how a silent sign-in went. JSON can be read by this origin alone. Nothing of ours is ever
stored by a cache.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response

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
    nonce = secrets.token_urlsafe(16)
    body = TEMPLATES.get_template(template).render(nonce=nonce, **values)
    return _page(body, nonce, status, headers, ancestors, script=script)


def hop(return_to: str) -> Response:
    """Return the page that leads on after a sign-in, to a path on this origin.

    It is the same each time but for two values, so it is rendered once, with marks in their place.
    """
    nonce = secrets.token_urlsafe(16)
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
    framing = {"X-Frame-Options": "DENY"} if ancestors == "'none'" else {}
    policy = PAGE_POLICY.format(nonce=nonce, ancestors=ancestors)
    if script:
        policy += f"; script-src 'nonce-{nonce}'"
    return Response(
        body,
        status,
        {
            **NO_STORE,
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            **framing,
            **(headers or {}),
        },
        media_type="text/html",
    )


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
    return Response(
        None,
        status,
        {**NO_STORE, "Location": url, "Referrer-Policy": "no-referrer"},
    )


def wants_page(headers: Mapping[str, str]) -> bool:
    """Whether a person's browser navigates here, so that a page is the right answer."""
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in headers.get("accept", "")


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
