"""Renders the pages a person sees.

Every page is self-contained and runs under a policy that allows nothing but its own style (and,
for `form_post`, its own script), by a nonce. There is no `form-action`: Chromium would apply it to
the redirect that follows a form, and that redirect goes to the client.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.responses import Response

_TEMPLATES = Environment(
    loader=PackageLoader("bff.demo.provider"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def page(template: str, status: int = 200, **context: object) -> HTMLResponse:
    """Render `template` (a name without suffix) with a fresh nonce and the security headers."""
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATES.get_template(f"{template}.html").render(nonce=nonce, **context)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
        " base-uri 'none'; frame-ancestors 'none'"
    )
    headers = NO_STORE | {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return HTMLResponse(html, status, headers)


def redirect(url: str) -> Response:
    """Answer 303, kept by nobody."""
    return RedirectResponse(url, 303, NO_STORE | {"Referrer-Policy": "no-referrer"})
