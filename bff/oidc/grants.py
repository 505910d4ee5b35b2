"""The token endpoint's answer, judged. Pure (RFC 6749 5.1 and 5.2; OIDC Core 3.1.3.3).

Three outcomes that must never be mixed up: a grant; a refusal by the provider, of which only
`invalid_grant` says anything about the user's session; and an answer that is none, which says only
that the provider is not well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bff.errors import ProviderUnavailableError
from bff.oidc.json import BadJsonError, parse_object

MAX_LIFETIME = 315_360_000
USE_NONCE = "use_dpop_nonce"
BUSY = frozenset({408, 425, 429})
# GitHub has words of its own for errors that RFC 6749 5.2 names.
SAME_ERROR = {
    "bad_verification_code": "invalid_grant",
    "bad_refresh_token": "invalid_grant",
    "incorrect_client_credentials": "invalid_client",
}
TEMPORARY = frozenset({"server_error", "temporarily_unavailable", "slow_down"})
KNOWN_ERRORS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "access_denied",
     "unsupported_grant_type", "invalid_scope", "invalid_target", "invalid_dpop_proof",
     "use_dpop_nonce", "interaction_required", "consent_required", "login_required"}
)  # fmt: skip


class RefusedError(Exception):
    """The provider refuses; `reason` is its error code where that is a known one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidGrantError(RefusedError):
    """The code or the refresh token is no longer good: the one refusal that ends a session."""

    def __init__(self) -> None:
        super().__init__("invalid_grant")


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted. `expires_in` is in seconds; `scope` is None where it is as requested.

    `issued_token_type` comes with an exchanged token (RFC 8693 2.2.1).
    """

    access_token: str
    expires_in: float | None
    refresh_token: str | None
    id_token: str | None
    scope: frozenset[str] | None
    issued_token_type: str | None = None


def judge_answer(status: int, body: bytes, *, bound: bool = False) -> Grant:
    """Return the grant in a token endpoint's answer; `bound`: its tokens must be so to our key.

    Raises InvalidGrantError, RefusedError, or ProviderUnavailableError where the answer is none.
    """
    if status >= 500 or status in BUSY:  # noqa: PLR2004
        raise ProviderUnavailableError(f"token_endpoint_{status}")
    try:
        answer = parse_object(body)
    except BadJsonError:
        raise ProviderUnavailableError("token_endpoint_not_json") from None
    error = answer.get("error")
    if error is not None and not isinstance(error, str):
        error = "malformed"
    error = SAME_ERROR.get(error or "", error)
    if error == "invalid_grant":
        raise InvalidGrantError
    if error in TEMPORARY:
        raise ProviderUnavailableError(f"token_endpoint_{error}")
    if error is not None:
        raise RefusedError(error if error in KNOWN_ERRORS else "other_error")
    if status != 200:  # noqa: PLR2004
        raise ProviderUnavailableError(f"token_endpoint_{status}")
    access_token, token_type = answer.get("access_token"), answer.get("token_type")
    if not _is_token(access_token):
        raise RefusedError("no_access_token")
    kind = token_type.lower() if isinstance(token_type, str) else None
    if bound and kind == "bearer":
        raise RefusedError("token_not_bound")
    if kind != ("dpop" if bound else "bearer"):
        raise RefusedError("token_type")
    refresh_token, id_token = answer.get("refresh_token"), answer.get("id_token")
    if refresh_token is not None and (not isinstance(refresh_token, str) or not refresh_token):
        raise RefusedError("refresh_token")
    if id_token is not None and not isinstance(id_token, str):
        raise RefusedError("id_token")
    scope, issued = answer.get("scope"), answer.get("issued_token_type")
    return Grant(
        access_token=str(access_token),
        expires_in=_lifetime(answer.get("expires_in")),
        refresh_token=refresh_token,
        id_token=id_token,
        scope=frozenset(scope.split()) if isinstance(scope, str) else None,
        issued_token_type=issued if isinstance(issued, str) else None,
    )


def demands_nonce(status: int, body: bytes) -> bool:
    """Whether a token endpoint's answer asks for a proof with its nonce (RFC 9449 8)."""
    if status not in {400, 401}:
        return False
    try:
        return parse_object(body).get("error") == USE_NONCE
    except BadJsonError:
        return False


def plain_grant(grant: Grant) -> Grant:
    """Return a grant of a provider without ID tokens; some put commas between scopes."""
    scope = grant.scope
    if scope is not None:
        scope = frozenset(name for given in scope for name in given.split(",") if name)
    return replace(grant, id_token=None, scope=scope)


def _is_token(value: object) -> bool:
    """Whether a value can stand in a header field: of the visible characters of ASCII."""
    return (
        isinstance(value, str)
        and value != ""
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _lifetime(value: object) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return float(min(value, MAX_LIFETIME))
