"""What other workers did to sessions: one subscription a worker, proven alive.

Every ending and every change of a session is published by the script that makes it. A worker that
hears of it at once may keep opened records; one that cannot be sure to hear may not. So a PING goes
over the *subscribed connection* every 250 ms: Redis answers in order, hence a PONG proves that
every message published before its PING has come (in a Cluster, where messages cross nodes, all but
those on their way). Half a second without proof, and the channel counts as silent: nothing is kept.

A channel is given up when several PINGs in a row brought nothing at all. PINGs are counted, not
seconds: a loop that was held up has not listened meanwhile, and what Redis sent lies unread.

Whatever was read before Redis confirmed the subscription may be outdated by a message that was not
sent to us: so listeners are told of missed messages when a channel opens as well as when it breaks.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from bff.deadline import Deadline
from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.redis import Redis
from bff.sessions.tasks import stop

PING_EVERY = 0.25
PROOF_LASTS = 0.5
GIVE_UP_AFTER = 1.0
PINGS_UNHEARD = 4  # a second of them
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

log = structlog.get_logger("bff.signals")


class Listener(Protocol):
    """Somebody who must know."""

    def ended(self, key: str, reason: str) -> None:
        """Hear that the session of this key has ended."""
        ...

    def changed(self, key: str) -> None:
        """Hear that the session of this key has new tokens."""
        ...

    def missed(self) -> None:
        """Hear that messages may have been lost."""
        ...


class Signals:
    """Hears of all sessions, and tells listeners in the order of Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._proven_until = float("-inf")

    def add(self, listener: Listener) -> None:
        """Tell this listener from now on."""
        self._listeners.append(listener)

    @property
    def proven(self) -> bool:
        """Whether every message up to half a second ago is known to have come."""
        return asyncio.get_running_loop().time() < self._proven_until

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="signals")

    async def aclose(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await stop(self._task)

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            channel: Any = None  # redis-py types it for sync and async clients at once
            try:
                channel = (await self._redis.listener()).pubsub()
                with Deadline(GIVE_UP_AFTER):
                    await channel.subscribe(names.CHANNEL)
                await self._converse(channel)
            except StoreUnavailableError as error:
                log.warning("signals.lost", reason=error.reason)
            except (RedisError, OSError) as error:
                log.warning("signals.lost", reason=type(error).__name__)
            except Exception:  # a fault of ours must not leave the worker deaf
                log.exception("signals.crashed")
            finally:
                if self._proven_until > 0:
                    pause = FIRST_PAUSE
                self._proven_until = float("-inf")
                self._missed()
                if channel is not None:
                    with suppress(RedisError, OSError):
                        await channel.aclose()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _converse(self, channel: Any) -> None:
        clock = asyncio.get_running_loop().time
        number = unheard = 0
        confirmed = False
        next_ping = clock()
        sent: dict[bytes, float] = {}
        while True:
            now = clock()
            if now >= next_ping:
                if unheard == PINGS_UNHEARD:
                    raise TimeoutError
                unheard += 1
                number += 1
                mark = b"%d" % number
                sent[mark] = now
                with Deadline(GIVE_UP_AFTER):
                    await channel.ping(mark)
                next_ping = now + PING_EVERY
            message = await channel.get_message(timeout=max(0.001, next_ping - clock()))
            if message is None:
                continue
            unheard = 0
            if message["type"] == "subscribe":
                if confirmed:  # redis-py has connected anew without a word
                    raise RedisConnectionError("connected anew")
                confirmed = True
                self._missed()
            elif message["type"] == "pong":
                pinged_at = sent.pop(message["data"], None)
                if pinged_at is not None:
                    self._proven_until = pinged_at + PROOF_LASTS
            elif message["type"] == "message":
                self._tell(message["data"].decode())

    def _missed(self) -> None:
        for listener in self._listeners:
            listener.missed()

    def _tell(self, message: str) -> None:
        kind, _, rest = message.partition(" ")
        key, _, reason = rest.partition(" ")
        for listener in self._listeners:
            if kind == "ended":
                listener.ended(key, reason)
            else:
                listener.changed(key)
