"""The links to one server: so many at once, used again newest first, opened when there is none.

Who finds all of them in use waits for a turn, in order. **Every command has its deadline**, before
which a connection may have to be opened. One bell rings for all who wait: it is set for the first
of them, and looks again when it rings. What is said in `deadline` holds here too: a loop that was
held up gives the other side a moment more, and time is up only once what has come was read.

A link that has rested for long is asked for a sign of life before a command is trusted to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from bff.deadline import A_MOMENT, A_TURN, LATE, MOMENTS, Deadline
from bff.sessions.redis_link import Link, packed

RESTED = 15.0  # seconds without a command
PING = packed([("PING",)])


class Links:
    """Links made by the connections of a pool of redis-py's, `most` at once.

    Each use is limited to `seconds`. Belongs to the event loop it is first used in.
    """

    def __init__(self, pool: Any, most: int) -> None:
        self._pool = pool
        self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Link] = []
        self._open: set[Link] = set()
        self._due: dict[Link, float] = {}
        self._bell: asyncio.TimerHandle | None = None
        self._rings_at = float("inf")
        self._moments = MOMENTS
        self._closed = False
        self._emptied: asyncio.Event | None = None

    async def ask(self, commands: bytes, number: int, seconds: float, patience: float) -> list[Any]:
        """Send so many commands on one link; return their answers, errors of Redis among them.

        `patience` is for a turn and all that follows. Raises errors of redis-py and TimeoutError.
        """
        if self._left and self._idle:
            now = asyncio.get_running_loop().time()
            link = self._idle.pop()
            if link.open and now - link.used_at < RESTED:
                self._left -= 1
                self._due[link] = due = now + seconds
                if due < self._rings_at:
                    self._ring_at(now, due)
                try:
                    return await link.ask(commands, number)
                except asyncio.CancelledError:
                    link.close()
                    raise
                finally:
                    del self._due[link]
                    self._give_back(link)
            self._idle.append(link)
        with Deadline(patience):
            return await self._ask_in_turn(commands, number, seconds)

    def close_idle(self) -> None:
        """Close those that nobody uses."""
        idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    @property
    def numbers(self) -> tuple[int, int]:
        """How many are idle, and how many are open."""
        return len(self._idle), len(self._open)

    async def aclose(self) -> None:
        """Close all of them."""
        self._closed = True
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None
        if self._open:
            self._emptied = asyncio.Event()
            for link in tuple(self._open):
                link.close()
            await self._emptied.wait()

    async def _ask_in_turn(self, commands: bytes, number: int, seconds: float) -> list[Any]:
        """Wait for a turn, and then for the answers: by a link that has rested, or a new one."""
        await self._turn()
        link: Link | None = None
        try:
            with Deadline(seconds):
                while self._idle and link is None:
                    link = self._idle.pop()
                    link = link if link.open else None
                if link is None:
                    link = await self._opened()
                elif asyncio.get_running_loop().time() - link.used_at >= RESTED:
                    await link.ask(PING, 1)
                return await link.ask(commands, number)
        except BaseException:
            if link is not None:
                link.close()
            raise
        finally:
            self._give_back(link)

    async def _turn(self) -> None:
        if self._left:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(None)
            raise

    def _give_back(self, link: Link | None) -> None:
        """Keep a link that can be used again; the turn goes to the first who waits."""
        if link is not None and link.open:
            self._idle.append(link)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1

    async def _opened(self) -> Link:
        connection = self._pool.make_connection()
        try:
            await connection.connect()
            if await connection.can_read():
                raise RedisConnectionError("an answer that nobody asked for")
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        link = Link(connection, self._lost)
        self._open.add(link)
        if self._closed:
            link.close()
        return link

    def _lost(self, link: Link) -> None:
        self._open.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        if self._emptied is not None and not self._open:
            self._emptied.set()

    def _ring_at(self, now: float, due: float, *, has_read: bool = False) -> None:
        if self._bell is not None:
            self._bell.cancel()
        self._rings_at = due
        loop = asyncio.get_running_loop()
        self._bell = loop.call_later(max(0.0, due - now), self._ring, due, has_read)

    def _ring(self, due: float, has_read: bool) -> None:
        self._bell = None
        self._rings_at = float("inf")
        now = asyncio.get_running_loop().time()
        over = [link for link, at in self._due.items() if at <= now]
        if over and now - due > LATE and self._moments:
            self._moments -= 1
            self._ring_at(now, now + A_MOMENT)
            return
        if over and not has_read:
            self._ring_at(now, now + A_TURN, has_read=True)
            return
        self._moments = MOMENTS
        for link in over:
            link.fail(TimeoutError())
        due = min((at for link, at in self._due.items() if link.open), default=float("inf"))
        if due < self._rings_at:
            self._ring_at(now, due)
