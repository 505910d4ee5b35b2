"""Is this form from our own page? Two rules, for two kinds of form.

*Signing in and out*: a token in the form that only the browser holding the cookie can have been
given: an HMAC over the cookie's value and what the form is for (the login CSRF of RFC 9700 4.7).
*Buttons of the start page*, which test programs press as well: the browser's word where it comes
from (`Sec-Fetch-Site`, else `Origin`); a program sends neither.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from bff.demo.provider.errors import PageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bff.demo.provider.state import ProviderState

COOKIE = "dev-provider-form"
SSO_COOKIE = "dev-provider-sso"


def form_cookie(state: ProviderState, request: Request) -> str:
    """Return the browser's form cookie, or a new value for it."""
    return request.cookies.get(COOKIE) or state.random_token()


def form_token(state: ProviderState, cookie: str, purpose: str) -> str:
    """Return the token that a form for `purpose` carries in a browser with this cookie."""
    message = f"{len(cookie)}:{cookie}{purpose}".encode("utf-8", "surrogateescape")
    return hmac.new(state.form_secret, message, "sha256").hexdigest()


def check_form_token(
    state: ProviderState, request: Request, token: str | None, purpose: str
) -> None:
    """Refuse a form that was not given to this browser. Raises PageError 403."""
    cookie = request.cookies.get(COOKIE, "")
    expected = form_token(state, cookie, purpose).encode()
    if not cookie or not hmac.compare_digest((token or "").encode(), expected):
        raise PageError(
            "Please try again",
            "This form was not opened in this browser, or cookies are switched off. Go back to the"
            " application and start again.",
            403,
        )


def check_own_origin(state: ProviderState, request: Request) -> None:
    """Refuse a form sent by another site's page. Raises PageError 403."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = site == "same-origin" if site is not None else origin in {None, state.config.issuer}
    if not own:
        raise PageError("Request refused", "This request came from another site.", 403)


def set_cookie(response: Response, name: str, value: str) -> None:
    """Set a cookie for the life of the browser; plain http, so without `Secure`."""
    response.set_cookie(name, value, httponly=True, samesite="lax", path="/")
