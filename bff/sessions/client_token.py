"""The service's own access token, for routes with `auth: client` (RFC 6749 4.4).

Kept in memory by each worker, never in Redis: losing it costs one request to the provider. Where
tokens are bound to a key (RFC 9449), each worker has its own, which is never kept anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bff.errors import ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.dpop import ProofKey
from bff.oidc.grants import RefusedError
from bff.oidc.provider import Provider
from bff.sessions.session import Tokens

PAUSE = 1.0

log = structlog.get_logger("bff.client_token")


class ClientToken:
    """One client-credentials token, fetched once for all who wait for it."""

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self.proof_key = ProofKey.generate() if provider.registration.dpop else None
        self._clock = clock
        self._tokens: Tokens | None = None
        self._fetching = asyncio.Lock()
        self._closed_until = float("-inf")

    async def get(self) -> str:
        """Return an access token. Raises ProviderUnavailableError where none is to be had."""
        tokens = self._tokens
        if tokens is None or tokens.due(self._clock()):
            async with self._fetching:
                if self._tokens is None or self._tokens.due(self._clock()):
                    await self._renew()
                tokens = self._tokens
        if tokens is None or tokens.expired(self._clock()):
            raise ProviderUnavailableError("client_credentials_failed")
        return tokens.access_token

    async def _renew(self) -> None:
        """Fetch a token; where that fails the old one stays, and the provider has a rest."""
        if self._clock() < self._closed_until:
            return
        try:
            self._tokens = await self._fetch()
        except ProviderUnavailableError as error:
            self._closed_until = self._clock() + PAUSE
            log.warning("client_token.failed", reason=error.reason)

    async def _fetch(self) -> Tokens:
        try:
            grant = await token_endpoint.client_credentials(self._provider, "", self.proof_key)
        except RefusedError as error:
            raise ProviderUnavailableError(error.reason) from None
        return Tokens.granted(
            access_token=grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=None,
            id_token="",
            scope=grant.scope or frozenset(),
            now=self._clock(),
        )
