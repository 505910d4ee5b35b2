"""The service's own access token, for routes with `auth: client` (RFC 6749 4.4).

Kept in memory by each worker, never in Redis: losing it costs one request to the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bff.errors import ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.grants import RefusedError
from bff.oidc.provider import Provider
from bff.sessions.session import Tokens

log = structlog.get_logger("bff.client_token")


class ClientToken:
    """One client-credentials token, fetched once for all who wait for it."""

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._tokens: Tokens | None = None
        self._fetching = asyncio.Lock()

    async def get(self) -> str:
        """Return an access token. Raises ProviderUnavailableError where none is to be had."""
        tokens = self._tokens
        if tokens is None or tokens.due(self._clock()):
            async with self._fetching:
                if self._tokens is None or self._tokens.due(self._clock()):
                    self._tokens = await self._fetch()
                tokens = self._tokens
        return tokens.access_token

    async def _fetch(self) -> Tokens:
        try:
            grant = await token_endpoint.client_credentials(self._provider, "")
        except RefusedError as error:
            log.warning("client_token.refused", reason=error.reason)
            raise ProviderUnavailableError(f"client_credentials_{error.reason}") from None
        return Tokens.granted(
            access_token=grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=None,
            id_token="",
            scope=grant.scope or frozenset(),
            now=self._clock(),
        )
