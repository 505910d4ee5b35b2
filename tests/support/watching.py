"""Waiting for the end of a session, as tests do it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from bff.sessions.live import LiveSessions


@contextmanager
def ending(live: LiveSessions, key: str) -> Generator[asyncio.Event]:
    """Give an event that is set when the session of this key ends, on any worker."""
    event = asyncio.Event()

    def hear(kind: str, _reason: str) -> None:
        if kind == "ended":
            event.set()

    with live.follow(key, hear):
        yield event
