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
AT_ONCE = 16
ATTEMPTS = 3
PAUSE = 2.0

log = structlog.get_logger("bff.revocation")


class Revoker:
    """Revokes refresh tokens in the background."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def revoke(self, *sessions: Session | None) -> None:
        """Revoke what the sessions held; return when it is done, or after a second."""
        held = [session.tokens.refresh_token for session in sessions if session is not None]
        tasks = [
            asyncio.create_task(self._revoke(refresh_token), name="revoke")
            for refresh_token in held
            if refresh_token is not None
        ]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def aclose(self, patience: float | None = None) -> None:
        """Give what is under way a moment, or so many seconds, then stop."""
        if self._tasks:
            timeout = PATIENCE if patience is None else patience
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()

    async def _revoke(self, refresh_token: str) -> None:
        async with self._turns:
            await self._try_to_revoke(refresh_token)

    async def _try_to_revoke(self, refresh_token: str) -> None:
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
