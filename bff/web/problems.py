"""What a browser is told when something is wrong: problem details (RFC 9457), or a page.

One table holds the words. They say what happened and what to do; nothing of the provider's inside,
or of ours, is ever among them. The log has the reason, under the same request id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import Response

from bff.errors import Code, Problem
from bff.web.pages import json_answer, page, wants_page


@dataclass(frozen=True, slots=True)
class Words:
    """How a code is put to a person: title, what happened, and the way on."""

    title: str
    message: str
    action_label: str = "Go to the start page"
    action_url: str = "/"


AGAIN = ("Sign in again", "/bff/login")
WORDS: dict[Code, Words] = {
    Code.UNAUTHENTICATED: Words(
        "Please sign in", "You need to be signed in to see this.", "Sign in", "/bff/login"
    ),
    Code.CSRF: Words(
        "This request was not made from our own page",
        "To protect you, requests that come from other sites are refused. "
        "Open the application and try from there.",
    ),
    Code.FORBIDDEN: Words(
        "You may not do this",
        "You are signed in, but your account does not have the permission that this needs. "
        "If you think it should, ask whoever manages your access.",
    ),
    Code.STEP_UP_REQUIRED: Words(
        "Please confirm that it is you",
        "This needs a stronger or more recent sign-in than the one you have.",
        *AGAIN,
    ),
    Code.BAD_PATH: Words(
        "This address is not valid",
        "The address has a form that could be understood in two ways, so it is refused. "
        "Check it for typing errors.",
    ),
    Code.LOGIN_FAILED: Words(
        "Signing in did not work",
        "It was cancelled, or it could not be completed; nothing was changed. Please try again. "
        "If it keeps failing, cookies may be blocked for this site.",
        *AGAIN,
    ),
    Code.LOGIN_EXPIRED: Words(
        "This sign-in is no longer valid",
        "It took too long, was finished already, or was begun in another browser. "
        "If you are signed in, you still are; otherwise please start again.",
        *AGAIN,
    ),
    Code.RATE_LIMITED: Words(
        "Too many attempts", "Please wait a moment before you try again.", *AGAIN
    ),
    Code.UPSTREAM_UNAVAILABLE: Words(
        "The application cannot be reached",
        "The part of the application behind this address does not answer. "
        "Please try again in a moment.",
    ),
    Code.UPSTREAM_TIMEOUT: Words(
        "The application takes too long",
        "The part of the application behind this address did not answer in time. "
        "Please try again in a moment.",
    ),
    Code.PROVIDER_UNAVAILABLE: Words(
        "Sign-in is not available just now",
        "The service that signs you in does not answer. Please try again in a moment. "
        "If you are signed in already, you still are.",
        "Try again",
        "/bff/login",
    ),
    Code.STORE_UNAVAILABLE: Words(
        "The service is not available just now",
        "Please try again in a moment. If you were signed in, you still are.",
    ),
    Code.NOT_FOUND: Words(
        "Nothing is here", "The address may be mistyped, or the page may be gone."
    ),
    Code.METHOD_NOT_ALLOWED: Words(
        "This cannot be done here", "The address exists, but it is not used in this way."
    ),
    Code.BAD_REQUEST: Words(
        "The request was not understood",
        "Something in the request is missing, repeated or malformed.",
    ),
    Code.TOO_LARGE: Words("The request is too large", "It is larger than what is accepted here."),
    Code.LOOP_DETECTED: Words(
        "The request went round in a circle",
        "The service was asked to forward a request to itself. "
        "This is a fault of its configuration.",
    ),
    Code.INTERNAL: Words(
        "Something went wrong", "This is our fault, not yours. Please try again in a moment."
    ),
}


def problem_answer(
    problem: Problem, headers: Mapping[str, str], *, request_id: str, path: str, method: str
) -> Response:
    """Return the answer to a request that could not be served.

    `path` is where the browser wanted to go, as it was judged: a sign-in leads back there.
    """
    words = WORDS[problem.code]
    own = dict(problem.headers)
    vary = {"Vary": "Accept, Sec-Fetch-Mode"}
    if wants_page(headers):
        action_url = words.action_url
        if problem.status == 401 and method == "GET":  # noqa: PLR2004
            url = problem.login_url or action_url
            glue = "&" if "?" in url else "?"
            action_url = f"{url}{glue}return_to={quote(path, safe='/')}"
        return page(
            "error.html",
            problem.status,
            headers={**own, **vary},
            title=words.title,
            message=problem.detail or words.message,
            action_label=words.action_label,
            action_url=action_url,
            code=problem.code.value,
            request_id=request_id,
            status=problem.status,
        )
    body: dict[str, object] = {
        "type": "about:blank",
        "title": words.title,
        "status": problem.status,
        "code": problem.code.value,
        "detail": problem.detail or words.message,
        "request_id": request_id,
    }
    if problem.status == 401:  # noqa: PLR2004
        body["login_url"] = problem.login_url or "/bff/login"
    return json_answer(
        body, problem.status, headers={**own, **vary}, media_type="application/problem+json"
    )
