"""Telling the provider that tokens of an ended session will not be used again (RFC 7009).

The session has ended already when this begins; a provider that is slow or away never keeps a user
from signing out. A sign-out waits a moment for the answer, and the rest goes on behind it.
"""

from __future__ import annotations

import asyncio

import structlog

from bff.errors import ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.grants import RefusedError
from bff.oidc.provider import Provider
from bff.sessions.session import Session

PATIENCE = 1.0
ATTEMPTS = 3
PAUSE = 2.0

log = structlog.get_logger("bff.revocation")


class Revoker:
    """Revokes refresh tokens in the background."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._tasks: set[asyncio.Task[None]] = set()

    async def revoke(self, session: Session | None) -> None:
        """Revoke what the session held; return when it is done, or after a second."""
        if session is None or session.tokens.refresh_token is None:
            return
        task = asyncio.create_task(self._revoke(session.tokens.refresh_token), name="revoke")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task], timeout=PATIENCE)

    async def aclose(self) -> None:
        """Give what is under way a moment, then stop."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()

    async def _revoke(self, refresh_token: str) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await token_endpoint.revoke(self._provider, refresh_token, "refresh_token")
            except ProviderUnavailableError as error:
                log.warning("token.revocation_failed", reason=error.reason, attempt=attempt + 1)
                await asyncio.sleep(PAUSE)
            except RefusedError as error:
                log.warning("token.revocation_refused", reason=error.reason)
                return
            else:
                log.info("token.revoked")
                return
