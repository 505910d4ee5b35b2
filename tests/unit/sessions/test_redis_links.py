"""Links to one server: turns, deadlines, and that no answer is taken for another's."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import hiredis
import pytest
import uvloop
from redis.asyncio import ConnectionPool
from redis.exceptions import BusyLoadingError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.deadline import LATE, MOMENTS
from bff.sessions import redis_links
from bff.sessions.redis_link import Command, packed
from bff.sessions.redis_links import Links

LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
LONG = 30.0
SHORT = 0.15
Check = Callable[[Links], Awaitable[None]]


class Scripted:
    """A server in a thread of its own that answers as the first word of a command says."""

    def __init__(self) -> None:
        self.heard: list[list[bytes]] = []
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Close everything."""
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._sockets.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = hiredis.Reader()
        with suppress(OSError), connection:
            while data := connection.recv(65_536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    self.heard.append(command)
                    self._answer(connection, *command)

    def _answer(self, connection: socket.socket, word: bytes, *args: bytes) -> None:
        if word == b"LATER":
            time.sleep(float(args[0]))
            word = b"PING"
        answers = {
            b"PING": b"+PONG\r\n",
            b"SAY": b"$%d\r\n%s\r\n" % (len(args[0]) if args else 0, args[0] if args else b""),
            b"ERROR": b"-ERR no\r\n",
            b"LOADING": b"-LOADING wait\r\n",
            b"TWICE": b"+PONG\r\n+PONG\r\n",
            b"PUSH": b">2\r\n+message\r\n+x\r\n+PONG\r\n",
            b"NONSENSE": b"?what\r\n",
        }
        if word == b"CLOSE":
            connection.shutdown(socket.SHUT_RDWR)
        connection.sendall(answers.get(word, b""))


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server."""
    made = Scripted()
    yield made
    made.stop()


def on_each_loop(server: Scripted, check: Check, most: int = 2) -> None:
    """Check on asyncio's own loop and on uvloop; the links are closed in the end."""

    async def run() -> None:
        options: dict[str, Any] = {"protocol": 2, "driver_info": None}
        pool = ConnectionPool(host="127.0.0.1", port=server.port, **options)
        links = Links(pool, most)
        try:
            await asyncio.wait_for(check(links), LONG)
        finally:
            await links.aclose()
        assert links.numbers == (0, 0)

    for factory in LOOPS:
        server.heard.clear()
        server.connections = 0
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run())


async def ask(links: Links, *commands: Command, seconds: float = LONG) -> list[Any]:
    """Ask, with patience."""
    return await links.ask(packed(commands), len(commands), seconds, LONG)


def test_answers_come_in_order_and_a_link_is_used_again(server: Scripted) -> None:
    """Errors of Redis are among them."""

    async def check(links: Links) -> None:
        for _ in range(3):
            found = await ask(links, ("SAY", "a"), ("ERROR",), ("SAY", b"b"))
            assert [found[0], found[2]] == [b"a", b"b"]
            assert isinstance(found[1], ResponseError)
        assert (links.numbers, server.connections) == ((1, 1), 1)

    on_each_loop(server, check)


def test_who_is_not_answered_is_told_in_time(server: Scripted) -> None:
    """By a link that was opened for it, and by one that was there; neither is used again."""

    async def check(links: Links) -> None:
        for first in (True, False):
            if not first:
                assert await ask(links, ("PING",)) == [b"PONG"]
            other = asyncio.create_task(ask(links, ("LATER", str(3 * SHORT))))
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                await ask(links, ("SILENCE",), seconds=SHORT)
            assert time.monotonic() - began >= 0.9 * SHORT
            assert await other == [b"PONG"]
            assert links.numbers == (1, 1)
        assert await ask(links, ("SAY", "x")) == [b"x"]

    on_each_loop(server, check)


@pytest.mark.parametrize("late", [LATE, LONG])
def test_an_answer_that_lay_unread_counts(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """The loop stands still until after the time, while the answer is in the socket."""
    monkeypatch.setattr(redis_links, "LATE", late)

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        waiting = asyncio.create_task(ask(links, ("LATER", str(SHORT)), seconds=SHORT))
        # In what reads sockets, so that time is up before the next of them is read.
        here, there = socket.socketpair()

        def stand_still() -> None:
            here.recv(1)
            time.sleep(4 * SHORT)

        asyncio.get_running_loop().add_reader(here, stand_still)
        await asyncio.sleep(0)
        there.send(b"x")
        assert await waiting == [b"PONG"]
        asyncio.get_running_loop().remove_reader(here)
        here.close()
        there.close()

    on_each_loop(server, check)


def test_a_loop_that_is_held_up_again_and_again_gives_up_too(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moments that are added have a number."""
    monkeypatch.setattr(redis_links, "A_MOMENT", 0.01)

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        waiting = asyncio.create_task(ask(links, ("SILENCE",), seconds=0.01))
        turns = 0
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0)
            time.sleep(0.07)
        assert isinstance(waiting.exception(), TimeoutError)
        assert turns > MOMENTS

    on_each_loop(server, check)


def test_more_than_there_are_links_wait_for_their_turn(server: Scripted) -> None:
    """In order; one that gives up passes its turn on."""

    async def check(links: Links) -> None:
        order: list[int] = []

        async def use(number: int) -> None:
            await ask(links, ("LATER", "0.02"))
            order.append(number)

        tasks = [asyncio.create_task(use(number)) for number in range(8)]
        await asyncio.sleep(0)
        tasks[4].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 1, 2, 3, 5, 6, 7]
        assert (links.numbers, server.connections) == ((1, 1), 1)

    on_each_loop(server, check, most=1)


def test_a_turn_that_was_given_to_one_who_leaves_goes_on(server: Scripted) -> None:
    """It is passed on, and not lost."""

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        first = asyncio.create_task(ask(links, ("PING",)))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(links, ("PING",)))
        await asyncio.sleep(0)
        # The turn is given to the second when the first has its answer.
        give = links._give_back

        def give_and_leave(link: Any) -> None:
            give(link)
            second.cancel()

        links._give_back = give_and_leave  # type: ignore[method-assign]
        await asyncio.gather(first, second, return_exceptions=True)
        assert second.cancelled()
        assert await ask(links, ("SAY", "x")) == [b"x"]

    on_each_loop(server, check, most=1)


def test_nobody_gets_the_answer_to_another_ones_question(server: Scripted) -> None:
    """A link whose asker left before the answer came is closed."""

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        for _ in range(2):
            leaving = asyncio.create_task(ask(links, ("LATER", "0.05")))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            assert await ask(links, ("SAY", "mine")) == [b"mine"]

    on_each_loop(server, check)


def test_an_answer_too_many_ends_a_link(server: Scripted) -> None:
    """Both sides are not at the same point any more. What nobody asked for (RESP3) is passed by."""

    async def check(links: Links) -> None:
        for _ in range(2):
            with suppress(RedisConnectionError):
                await ask(links, ("TWICE",))
            assert await ask(links, ("SAY", "mine")) == [b"mine"]
        connections = server.connections
        assert connections > 1
        assert await ask(links, ("PUSH",)) == [b"PONG"]
        assert await ask(links, ("SAY", "mine")) == [b"mine"]
        assert server.connections == connections

    on_each_loop(server, check)


@pytest.mark.parametrize(
    ("word", "error"),
    [("LOADING", BusyLoadingError), ("NONSENSE", InvalidResponse), ("CLOSE", RedisConnectionError)],
)
def test_a_fault_of_the_connection_ends_it(
    server: Scripted, word: str, error: type[Exception]
) -> None:
    """It is raised, and the next one is asked on another connection."""

    async def check(links: Links) -> None:
        for _ in range(2):
            with pytest.raises(error):
                await ask(links, (word,))
            assert links.numbers[0] == 0
            assert await ask(links, ("SAY", "x")) == [b"x"]

    on_each_loop(server, check)


def test_what_the_server_closed_is_not_used(server: Scripted) -> None:
    """An idle link whose server hung up is forgotten; a command goes on a new one."""

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        server.hang_up()
        while links.numbers != (0, 0):
            await asyncio.sleep(0.001)
        assert await ask(links, ("SAY", "x")) == [b"x"]

    on_each_loop(server, check)


def test_a_link_that_rested_for_long_is_asked_for_a_sign_of_life(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the command is trusted to it; one that was used just now is not."""

    async def check(links: Links) -> None:
        await ask(links, ("SAY", "a"))
        await ask(links, ("SAY", "b"))
        with monkeypatch.context() as rested:
            rested.setattr(redis_links, "RESTED", 0.0)
            assert await ask(links, ("SAY", "c")) == [b"c"]
        assert server.heard == [[b"SAY", b"a"], [b"SAY", b"b"], [b"PING"], [b"SAY", b"c"]]

    on_each_loop(server, check)


def test_nothing_is_left_open_at_the_end(server: Scripted) -> None:
    """Nor what is being opened or used just then; who waits is told."""

    async def check(links: Links) -> None:
        await ask(links, ("PING",))
        asking = [asyncio.create_task(ask(links, ("SILENCE",), seconds=2)) for _ in range(2)]
        await asyncio.sleep(0)
        await links.aclose()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(one, RedisConnectionError) for one in found)

    on_each_loop(server, check)
