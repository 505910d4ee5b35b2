"""What must know of a session at once: streams and WebSockets that are open under it, and waiters.

An ending is heard through `signals`, wherever it happens. A session that runs out of time sends no
message, and one may be missed; so each watched session is looked up when its time should be over,
when messages may have been lost, soon after it is first watched, and every few seconds otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bff.errors import StoreUnavailableError
from bff.sessions.signals import Signals
from bff.sessions.store import SessionStore
from bff.sessions.tasks import stop

SWEEP_EVERY = 0.25
LOOK_EVERY = 5.0
BATCH = 128
NOW = float("-inf")

Follower = Callable[[str, str], None]


@dataclass(slots=True)
class _Watched:
    look_at: float = NOW
    followers: set[Follower] = field(default_factory=set[Follower])


class LiveSessions:
    """The sessions that something is open under, in this worker. A listener of `signals`."""

    def __init__(self, store: SessionStore, signals: Signals) -> None:
        self._store = store
        self._signals = signals
        self._watched: dict[str, _Watched] = {}
        self._sweeper: asyncio.Task[None] | None = None
        signals.add(self)

    def start(self) -> None:
        """Begin to look after watched sessions."""
        self._sweeper = asyncio.create_task(self._sweep(), name="live")

    async def aclose(self) -> None:
        """Stop looking."""
        if self._sweeper is not None:
            await stop(self._sweeper)

    @contextmanager
    def follow(self, key: str, follower: Follower) -> Generator[None]:
        """Call `follower` with `ended` and the reason, or `changed` and nothing."""
        watched = self._watched.setdefault(key, _Watched())
        watched.followers.add(follower)
        watched.look_at = NOW
        try:
            yield
        finally:
            watched.followers.discard(follower)
            if not watched.followers and self._watched.get(key) is watched:
                del self._watched[key]

    @contextmanager
    def watch_change(self, key: str) -> Generator[asyncio.Event]:
        """Give an event that is set when anything happens to the session of this key."""
        event = asyncio.Event()

        def hear(_kind: str, _reason: str) -> None:
            event.set()

        with self.follow(key, hear):
            yield event

    def ended(self, key: str, reason: str) -> None:
        """Hear that a session has ended."""
        self._tell(key, "ended", reason)

    def changed(self, key: str) -> None:
        """Hear that a session has new tokens."""
        self._tell(key, "changed", "")

    def missed(self) -> None:
        """Hear that messages may have been lost."""
        for watched in self._watched.values():
            watched.look_at = NOW

    def _tell(self, key: str, kind: str, reason: str) -> None:
        watched = self._watched.get(key)
        if watched is not None:
            for follower in tuple(watched.followers):
                follower(kind, reason)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            now = self._store.clock()
            due = [key for key, watched in self._watched.items() if watched.look_at <= now]
            for start in range(0, len(due), BATCH):
                with suppress(StoreUnavailableError):
                    await self._look(due[start : start + BATCH])

    async def _look(self, keys: list[str]) -> None:
        for key, session in zip(keys, await self._store.load_many(keys), strict=True):
            if session is None:
                self._tell(key, "ended", await self._store.why_ended(key))
            elif key in self._watched:
                ends_at = session.idle_ends_at(self._store.lifetimes.idle)
                now = self._store.clock()
                self._watched[key].look_at = min(ends_at, now + LOOK_EVERY)
