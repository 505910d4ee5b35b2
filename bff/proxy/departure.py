"""Whether the one who asked is still there, and may still ask: for requests that last.

Rules: most requests are over before anybody looks, so what looks is made when it is first needed;
a request without a session waits for its browser alone.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from bff.proxy.browser import Browser
from bff.sessions.live import LiveSessions
from bff.sessions.session import Session


class Departure:
    """Waits, for a request that lasts, until its browser leaves or its session ends."""

    __slots__ = ("_browser", "_live", "_receive", "_scope", "_session", "session_ended")

    def __init__(
        self, scope: Scope, receive: Receive, live: LiveSessions, session: Session | None
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._live = live
        self._session = session
        self._browser: Browser | None = None
        self.session_ended = False

    @property
    def browser(self) -> Browser:
        """The browser's side of the request."""
        if self._browser is None:
            scope = self._scope
            self._browser = Browser(scope["method"], scope["headers"], self._receive)
        return self._browser

    async def wait(self) -> None:
        """Return when the browser has left, or the session has ended."""
        if self._session is None:
            await self.browser.gone()
            return
        left = asyncio.ensure_future(self.browser.gone())

        def hear(kind: str, _reason: str) -> None:
            if kind == "ended":
                self.session_ended = True
                left.cancel()

        with self._live.follow(self._session.key, hear):
            try:
                await left
            except asyncio.CancelledError:
                if not self.session_ended:
                    raise
            finally:
                left.cancel()
