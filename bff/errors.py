"""What can go wrong, under the stable codes of the contract (section 6).

A `Problem` is raised wherever a request cannot be served, and rendered once, at the door
(`bff.web.problems`): as problem details (RFC 9457) or as a page. It carries two things that must
never mix: `code` and `detail` are for the browser, `reason` is a stable word for the log.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The codes a browser may see; they never change."""

    UNAUTHENTICATED = "unauthenticated"
    CSRF = "csrf"
    FORBIDDEN = "forbidden"
    STEP_UP_REQUIRED = "step_up_required"
    BAD_PATH = "bad_path"
    LOGIN_FAILED = "login_failed"
    LOGIN_EXPIRED = "login_expired"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    LOOP_DETECTED = "loop_detected"
    INTERNAL = "internal"


STATUS: dict[Code, int] = {
    Code.UNAUTHENTICATED: 401,
    Code.CSRF: 403,
    Code.FORBIDDEN: 403,
    Code.STEP_UP_REQUIRED: 401,
    Code.BAD_PATH: 400,
    Code.LOGIN_FAILED: 400,
    Code.LOGIN_EXPIRED: 400,
    Code.RATE_LIMITED: 429,
    Code.UPSTREAM_UNAVAILABLE: 502,
    Code.UPSTREAM_TIMEOUT: 504,
    Code.PROVIDER_UNAVAILABLE: 503,
    Code.STORE_UNAVAILABLE: 503,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.BAD_REQUEST: 400,
    Code.TOO_LARGE: 413,
    Code.LOOP_DETECTED: 508,
    Code.INTERNAL: 500,
}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A request that cannot be served.

    `code` decides the status, unless `status` says otherwise (`too_large` is 413 or 431).
    `reason` is a stable word for the log. `detail` is a sentence for the browser that tells nothing
    of our inside. `headers` are sent with the answer (`Retry-After`, `Allow`). `login_url` is where
    a 401 sends the user.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        detail: str | None = None,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        login_url: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.detail = detail
        self.status = STATUS[code] if status is None else status
        self.headers = headers
        self.login_url = login_url


class StoreUnavailableError(Problem):
    """Redis cannot be asked just now. Nobody is signed out for it (contract, section 6)."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.STORE_UNAVAILABLE, reason, headers=(("Retry-After", "2"),))


class ProviderUnavailableError(Problem):
    """The provider, its metadata or its keys cannot be had just now."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.PROVIDER_UNAVAILABLE, reason, headers=(("Retry-After", "5"),))
