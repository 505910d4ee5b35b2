"""Who must be told when a session ends: the streams and WebSockets that are open under it.

One subscription a worker hears of every ending, wherever it happens. A message can be missed while
the connection to Redis is broken, and a session that runs out of time sends none; so every few
seconds, and after each reconnection, the sessions watched here are looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from redis.exceptions import RedisError

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.redis import Redis
from bff.sessions.store import SessionStore

LOOK_EVERY = 5.0
RECONNECT_AFTER = 0.5
BATCH = 64

log = structlog.get_logger("bff.live")


class LiveSessions:
    """The sessions that something is open under, in this worker."""

    def __init__(self, redis: Redis, store: SessionStore) -> None:
        self._redis = redis
        self._store = store
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="live-listen"),
            asyncio.create_task(self._look_often(), name="live-look"),
        ]

    async def aclose(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def watch(self, key: str) -> Generator[asyncio.Event]:
        """Give an event that is set when the session of this key ends, on any worker."""
        event = asyncio.Event()
        watchers = self._watched.setdefault(key, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers and self._watched.get(key) is watchers:
                del self._watched[key]

    def _ended(self, key: str) -> None:
        for event in self._watched.get(key, ()):
            event.set()

    async def _listen(self) -> None:
        while True:
            # redis-py types its pub/sub object for sync and async clients at once.
            channel: Any = self._redis.client.pubsub(ignore_subscribe_messages=True)
            try:
                await channel.subscribe(names.ENDED_CHANNEL)
                await self._look()
                async for message in channel.listen():
                    self._ended(message["data"].decode().partition(" ")[0])
            except (RedisError, OSError, StoreUnavailableError) as error:
                log.warning("live.subscription_lost", reason=type(error).__name__)
            finally:
                with suppress(RedisError, OSError):
                    await channel.aclose()
            await asyncio.sleep(RECONNECT_AFTER)

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(StoreUnavailableError):
                await self._look()

    async def _look(self) -> None:
        keys = list(self._watched)
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            found = await asyncio.gather(*(self._store.load(key) for key in batch))
            for key, session in zip(batch, found, strict=True):
                if session is None:
                    self._ended(key)
