"""The server's side of a connection: what it writes, and when it gives a client up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from bff.request_head import MAX_FIELDS, MAX_HEAD
from bff.server import KEEP_ALIVE_SECONDS, StrictHttpProtocol, server_options

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Transport(asyncio.Transport):
    """What a protocol writes to."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)})
        self.writes: list[bytes] = []
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is written."""
        assert not self.closed
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self.closed

    def close(self) -> None:
        """Close it."""
        self.closed = True

    def pause_reading(self) -> None:
        """Note that no more is to come for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note that more may come."""
        self.reading = True


class Timer:
    """A call that is due at a time."""

    def __init__(self, at: float, call: Callable[[], None], timers: list[Timer]) -> None:
        self.at, self.call, self._timers = at, call, timers
        timers.append(self)

    def cancel(self) -> None:
        """Call no more."""
        if self in self._timers:
            self._timers.remove(self)


class Loop:
    """The running loop, with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        """Seconds."""
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Set a timer."""
        return Timer(self.now + seconds, callback, self.timers)

    def advance(self, seconds: float) -> None:
        """Let time pass, and call whom it is time for."""
        self.now += seconds
        for timer in list(self.timers):
            if timer.at <= self.now:
                timer.cancel()
                timer.call()


class Client:
    """A connection to an application."""

    def __init__(self, app: App) -> None:
        config = Config(app, **server_options())
        config.load()
        self.state = ServerState()
        self.loop = Loop()
        self.transport = Transport()
        self.protocol = StrictHttpProtocol(config, self.state, {}, self.loop)  # type: ignore[arg-type]  # as much of a loop as it needs
        self.protocol.connection_made(self.transport)

    async def send(self, data: bytes) -> list[bytes]:
        """Send bytes, wait until no request is being served, and return all that was written."""
        self.protocol.data_received(data)
        await self.quiet()
        return self.transport.writes

    async def quiet(self) -> None:
        """Wait until no request is being served."""
        await turn()
        while self.state.tasks:
            await asyncio.gather(*self.state.tasks)
            await turn()


async def turn() -> None:
    """Let everything that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


def answering(*messages: Message) -> App:
    """Return an application that sends these, and reads nothing."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


OK = answering(start(200, (b"content-length", b"2")), piece(b"ok"))


async def test_head_and_body_are_one_write() -> None:
    """An answer that is whole goes out in one piece, with or without a length, and on it goes."""
    client = Client(OK)
    for number in (1, 2, 3):
        writes = await client.send(GET)
        assert len(writes) == number
        assert writes[-1] == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    chunked = Client(answering(start(), piece(b"ok")))
    (whole,) = await chunked.send(GET)
    assert whole == (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")


async def test_a_stream_begins_before_its_first_piece() -> None:
    """A head does not wait for a body that is not there yet."""
    more = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await more.wait()
        await send(piece(b"one", more=True))
        await send(piece(b"", more=True))
        await send(piece(b"two"))

    client = Client(app)
    client.protocol.data_received(GET)
    await turn()
    (head,) = client.transport.writes
    assert head.endswith(b"\r\n\r\n")
    more.set()
    await client.quiet()
    assert client.transport.writes[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"]


@pytest.mark.parametrize(
    ("request_line", "status", "length"),
    [
        (b"HEAD / HTTP/1.1", 200, b"5"),
        (b"GET / HTTP/1.1", 204, None),
        (b"GET / HTTP/1.1", 304, b"0"),
    ],
)
async def test_some_answers_have_no_body(
    request_line: bytes, status: int, length: bytes | None
) -> None:
    """HEAD, 204 and 304: a head alone, and no chunks."""
    fields = [] if length is None else [(b"content-length", length)]
    client = Client(answering(start(status, *fields), piece(b"")))
    (head,) = await client.send(request_line + b"\r\nHost: x\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert b"chunked" not in head
    assert not client.transport.closed


@pytest.mark.parametrize("body", [b"", b"123", b"12345"])
async def test_a_body_is_as_long_as_it_says(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """One that is not ends the connection, so that nobody takes the next answer for its rest."""
    client = Client(answering(start(200, (b"content-length", b"4")), piece(body)))
    with caplog.at_level(logging.CRITICAL):
        await client.send(GET)
    assert client.transport.closed


@pytest.mark.parametrize(
    "field",
    [
        (b"x-a", b"1\r\nx-b: 2"), (b"x-a", b"1\n"), (b"x-a", b"\r"), (b"x-a", b"\0"),
        (b"x-a", b"\x7f"),
        (b"x-a\r\nx-b", b"1"), (b"x a", b"1"), (b"x:a", b"1"), (b"", b"1"),
    ],
)  # fmt: skip
async def test_what_is_no_field_is_not_sent(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Control characters in a value, or no name: an error, and nothing of the answer."""
    client = Client(answering(start(200, (b"x-good", b"tab\tand \xe9"), field), piece(b"secret")))
    with caplog.at_level(logging.CRITICAL):
        writes = await client.send(GET)
    assert writes
    assert writes[0].startswith(b"HTTP/1.1 500 ")
    assert b"x-good" not in b"".join(writes)
    assert b"secret" not in b"".join(writes)


async def test_values_keep_their_bytes() -> None:
    """Tabs, spaces and bytes beyond ASCII are none of our business."""
    client = Client(answering(start(200, (b"X-Good", b"tab\tand \xe9 \xff")), piece(b"")))
    (whole,) = await client.send(GET)
    assert b"\r\nx-good: tab\tand \xe9 \xff\r\n" in whole


async def test_messages_out_of_order_are_errors(caplog: pytest.LogCaptureFixture) -> None:
    """A body before its head, a second head, anything after the end."""
    for messages in (
        [piece(b"")], [start(), start()], [start(), {"type": "http.response.push"}],
        [start(200, (b"content-length", b"0")), piece(b""), piece(b"")],
    ):  # fmt: skip
        raised: list[Exception] = []

        async def app(
            _scope: Scope, _receive: Receive, send: Send, messages: list[Any] = messages
        ) -> None:
            try:
                for message in messages:
                    await send(message)
            except RuntimeError as error:
                raised.append(error)  # noqa: B023 - used before the next turn
                raise

        with caplog.at_level(logging.CRITICAL):
            await Client(app).send(GET)
        assert len(raised) == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    """One after the other, each in one write; meanwhile no more is read."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send(start(200, (b"content-length", b"2")))
        await send(piece(scope["raw_path"]))

    client = Client(app)
    client.protocol.data_received(GET + GET.replace(b"/a", b"/b") + GET.replace(b"/a", b"/c"))
    assert not client.transport.reading
    await client.quiet()
    assert seen == ["/a", "/b", "/c"]
    assert [write[-2:] for write in client.transport.writes] == [b"/a", b"/b", b"/c"]
    assert client.transport.reading


async def test_the_scope_says_what_was_asked() -> None:
    """The path is decoded once for pages; proxies have its bytes; the query is untouched."""
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send(start(204))
        await send(piece(b""))

    client = Client(app)
    await client.send(
        b"GET /%C3%A9/%2561?x=%20&y=?/ HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    )
    (scope,) = scopes
    assert scope["path"] == "/\u00e9/%61"
    assert scope["raw_path"] == b"/%C3%A9/%2561"
    assert scope["query_string"] == b"x=%20&y=?/"
    assert scope["headers"] == [(b"host", b"x"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (scope["method"], scope["http_version"]) == ("GET", "1.1")


async def test_expect_100_continue_is_met_when_the_body_is_wanted() -> None:
    """The interim answer goes out when the application reads, and not before."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send(start(200, (b"content-length", b"2")))
        await send(piece(message["body"]))

    client = Client(app)
    client.protocol.data_received(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n"
    )
    await turn()
    assert client.transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    writes = await client.send(b"hi")
    assert writes[1].endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n",
        b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * MAX_FIELDS + b"\r\n",
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 60_000, 1000])
async def test_a_large_head_is_refused(head: bytes, size: int) -> None:
    """In one piece or in many: 431, and nothing is served."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    client = Client(app)
    for at in range(0, len(head), size):
        if not client.transport.closed:
            client.protocol.data_received(head[at : at + size])
    await client.quiet()
    assert client.transport.writes[0].startswith(b"HTTP/1.1 431 ")
    assert client.transport.closed


async def test_a_body_is_not_counted_as_a_head() -> None:
    """A large body, and the beginning of the next request, may come in one piece."""
    body = b"x" * (2 * MAX_HEAD)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await send(start(204))
        await send(piece(b""))

    client = Client(app)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    await client.send(post + body + GET[:20])
    assert not client.transport.closed
    assert len(await client.send(GET[20:])) == 2


async def test_an_idle_connection_is_closed() -> None:
    """After its time, counted from the last answer; one timer does for all of them."""
    client = Client(OK)
    for _ in range(5):
        client.loop.advance(KEEP_ALIVE_SECONDS - 1)
        await client.send(GET)
        assert len(client.loop.timers) == 1
    client.loop.advance(KEEP_ALIVE_SECONDS - 1)
    assert not client.transport.closed
    client.loop.advance(1)
    assert client.transport.closed


@pytest.mark.parametrize("begun", [b"", GET[:-2]])
async def test_a_client_that_asks_for_nothing_is_closed(begun: bytes) -> None:
    """One that sends nothing, or a head without an end, does not keep its connection."""
    client = Client(OK)
    if begun:
        client.protocol.data_received(begun)
    client.loop.advance(KEEP_ALIVE_SECONDS)
    assert client.transport.closed


async def test_a_request_that_lasts_keeps_its_connection() -> None:
    """However long it takes; the time begins when it is answered."""
    done = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await done.wait()
        await send(start(204))
        await send(piece(b""))

    client = Client(app)
    client.protocol.data_received(GET)
    client.loop.advance(10 * KEEP_ALIVE_SECONDS)
    assert not client.transport.closed
    done.set()
    await client.quiet()
    client.loop.advance(KEEP_ALIVE_SECONDS - 1)
    assert not client.transport.closed
    client.loop.advance(1)
    assert client.transport.closed


async def test_a_lost_connection_leaves_no_timer() -> None:
    """Whichever way it was lost."""
    for error in (None, ConnectionResetError()):
        client = Client(OK)
        client.protocol.connection_lost(error)
        assert not client.loop.timers
