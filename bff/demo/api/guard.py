"""The one door of the demo API: from an `Authorization` header to a verified token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bff.demo.api.keys import IssuerKeys, KeysUnavailableError
from bff.demo.api.problems import (
    ApiError,
    insufficient_scope,
    invalid_token,
    missing_role,
    no_token,
)
from bff.demo.api.tokens import AccessToken, InvalidTokenError, read_kid, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers


class Guard:
    """Verifies the tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._keys = IssuerKeys(issuer, time.monotonic)

    async def check(
        self, headers: Headers, *, scope: str | None = None, role: str | None = None
    ) -> AccessToken:
        """Return the caller's token, which has this scope and role. Raises ApiError."""
        values = headers.getlist("authorization")
        scheme, _, token = (values[0] if len(values) == 1 else "").partition(" ")
        if scheme.lower() != "bearer":
            raise no_token()
        try:
            key = await self._keys.get(read_kid(token))
            verified = verify(token, key, self._issuer, self._audience, self._clock())
        except InvalidTokenError as error:
            raise invalid_token() from error
        except KeysUnavailableError as error:
            detail = "The issuer's keys cannot be had just now."
            raise ApiError(503, "issuer_unavailable", detail) from error
        if scope is not None and scope not in verified.scopes:
            raise insufficient_scope(scope)
        if role is not None and role not in verified.roles:
            raise missing_role(role)
        return verified
