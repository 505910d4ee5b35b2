"""How a silent sign-in ends: the page in the hidden frame or popup tells the page that opened it.

The message goes to BFF_BASE_URL's origin alone, and nobody else may frame the page. It says that
there is a session now, or why not: the few errors by which a provider says that it needs the user
(OIDC Core 3.1.2.6), or one of our own codes. Nothing else is in it.
"""

from __future__ import annotations

import structlog
from starlette.responses import Response

from bff.errors import Problem
from bff.web.pages import page
from bff.web.problems import WORDS
from bff.web.service import Service

TYPE = "bff:silent-login"
NEEDS_THE_USER = {
    f"provider_error_{error}": error
    for error in (
        "login_required", "interaction_required", "consent_required", "account_selection_required",
    )
}  # fmt: skip

log = structlog.get_logger("bff.request")


def done_silently(service: Service) -> Response:
    """Return the page that tells of a session."""
    return _telling(service, 200, "You are signed in", {"authenticated": True})


def refused_silently(service: Service, problem: Problem) -> Response:
    """Return the page that tells why there is none."""
    log.info("request.refused", code=problem.code, reason=problem.reason, status=problem.status)
    error = NEEDS_THE_USER.get(problem.reason, problem.code.value)
    return _telling(
        service,
        problem.status,
        WORDS[problem.code].title,
        {"error": error},
        headers=dict(problem.headers),
    )


def _telling(
    service: Service,
    status: int,
    title: str,
    outcome: dict[str, object],
    headers: dict[str, str] | None = None,
) -> Response:
    origin = service.settings.origin
    return page(
        "silent.html",
        status,
        # A popup with an opener policy of its own would have no opener.
        headers={"Cross-Origin-Opener-Policy": "unsafe-none", **(headers or {})},
        ancestors=origin,
        script=True,
        title=title,
        message={"type": TYPE, **outcome},
        origin=origin,
    )
