"""How the demo API says no: problem details (RFC 9457) with the challenge of RFC 6750 section 3."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

NO_STORE = {"Cache-Control": "no-store"}


class ApiError(Exception):
    """A request that is refused. `challenge` goes into `WWW-Authenticate` after `Bearer`."""

    def __init__(self, status: int, code: str, detail: str, challenge: str | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.challenge = challenge

    def response(self) -> JSONResponse:
        """Return the answer."""
        return problem(self.status, self.code, self.detail, self.challenge)


def problem(status: int, code: str, detail: str, challenge: str | None = None) -> JSONResponse:
    """Return a problem document."""
    headers = dict(NO_STORE)
    if challenge is not None:
        headers["WWW-Authenticate"] = f"Bearer {challenge}".rstrip()
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return JSONResponse(body, status, headers, "application/problem+json")


def no_token() -> ApiError:
    """Refuse a request without a token: no error code, as it broke no rule (RFC 6750 3.1)."""
    return ApiError(401, "unauthenticated", "An access token is needed.", "")


def invalid_token() -> ApiError:
    """Refuse a token that is not to be believed."""
    detail = "The access token is expired, or not meant for this API."
    return ApiError(401, "invalid_token", detail, 'error="invalid_token"')


def insufficient_scope(scope: str) -> ApiError:
    """Refuse a token that lacks a scope."""
    challenge = f'error="insufficient_scope", scope="{scope}"'
    return ApiError(403, "insufficient_scope", f"The scope {scope} is needed.", challenge)


def missing_role(role: str) -> ApiError:
    """Refuse a user who lacks a role."""
    challenge = 'error="insufficient_scope"'
    return ApiError(403, "missing_role", f"The role {role} is needed.", challenge)
