"""One connection to a Redis server: commands out, answers in, and nothing in between.

redis-py makes the connection, since it knows addresses, TLS, passwords and Sentinel. Then the bytes
go from the transport to hiredis: streams, locks, retries and telemetry, which are around each
command of redis-py's, cost more than the command.

Rules: one asks at a time, and gets as many answers as it sent commands, in order. A link is used
again only if both sides are at the same point: one whose asker did not wait for the end, that gave
an answer too many, or an answer that is a fault of the connection, is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

Argument = bytes | str | int
Command = Sequence[Argument]

# They are typed in part.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
_errors: Any = BaseParser
_NOT_YET = object()
_CLOSED = "the connection was closed"


def packed(commands: Sequence[Command]) -> bytes:
    """Return commands as Redis reads them."""
    if len(commands) == 1:
        return _pack(commands[0])
    return b"".join([_pack(command) for command in commands])


class Link(asyncio.Protocol):
    """A connection: idle, or waiting for the answers to what was asked."""

    def __init__(self, connection: Any, lost: Callable[[Link], None]) -> None:
        """Take over what redis-py has connected."""
        # Left alone they would close the transport.
        self._streams = (connection._reader, connection._writer)
        connection._reader = connection._writer = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = self._streams[1].transport
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse, replyError=_errors.parse_error, notEnoughData=_NOT_YET
        )
        self._lost = lost
        self._asked: asyncio.Future[list[Any]] | None = None
        self._answers: list[Any] = []
        self._number = 0
        self.used_at = self._loop.time()
        self.open = True
        self._transport.set_protocol(self)

    def ask(self, commands: bytes, number: int) -> asyncio.Future[list[Any]]:
        """Send so many commands; the future gives their answers, errors of Redis among them.

        It fails with an error of redis-py where the connection does.
        """
        self._answers = []
        self._number = number
        self._asked = asked = self._loop.create_future()
        if self.open:
            self._transport.write(commands)
        else:
            self._fail(RedisConnectionError(_CLOSED))
        return asked

    def fail(self, error: Exception) -> None:
        """Close the connection, and give this error to who waits for answers."""
        self.open = False
        self._fail(error)
        self._transport.abort()

    def close(self) -> None:
        """Close the connection."""
        self.fail(RedisConnectionError(_CLOSED))

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Parse what came; hand on the answers once they are all here."""
        parser, answers = self._parser, self._answers
        try:
            parser.feed(data)
            while (answer := parser.gets()) is not _NOT_YET:
                if isinstance(answer, RedisConnectionError):
                    raise answer
                if not isinstance(answer, hiredis.PushNotification):
                    answers.append(answer)
        except RedisError as error:
            self.fail(error)
            return
        asked = self._asked
        if len(answers) == self._number and asked is not None and not asked.cancelled():
            self._asked = None
            self._answers = []
            self._number = 0
            self.used_at = self._loop.time()
            asked.set_result(answers)
        elif len(answers) > self._number:
            self.close()

    def eof_received(self) -> None:
        """Use it no more; the transport closes itself."""
        self.open = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits, and the owner."""
        self.open = False
        self._fail(RedisConnectionError(_CLOSED if exc is None else type(exc).__name__))
        self._lost(self)

    def _fail(self, error: Exception) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_exception(error)
            asked.exception()  # noted here too, in case nobody waits any more
