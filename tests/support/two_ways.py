"""One application behind two doors: with its express way, and with ASGI alone.

Both run in a thread of their own, with the server's real protocol on real sockets, and share all
they have: sessions, connections to the upstream, memory. The upstream is a raw socket that answers
by the number in the path, and notes what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from bff.answer_head import Fields
from bff.app import Application
from bff.configuration import read_configuration
from bff.exchange import Exchange, Flight, Line
from bff.express import Express
from bff.express_answers import Asked, ExpressAnswers
from bff.server import StrictHttpProtocol, server_options
from bff.sessions import names, signals
from bff.sessions.cookies import session_cookie
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.store import EndReason, Lifetimes, SessionStore
from tests.support.raw_upstream import Peer, raw_upstream
from tests.support.sessions import a_session

SECRET = "two-ways-two-ways-two-ways-two-ways-0"
ORIGIN = "http://127.0.0.1:8080"
PATIENCE = 20.0
PAUSE = 0.05
LONG = b"wait"  # in a script: until all has been sent, and a while
NONSENSE = b"nonsense"  # in what is sent: the connection will be closed for it
NEVER = b"never"  # in a script: nothing comes
ALL = 1_000_000
Result = TypeVar("Result")
_RANDOM = re.compile(rb"[0-9a-f]{32}|(?<=_in\":)[0-9]+")


class TwoWays:
    """The two doors' ports, the cookie of a session, and what became of requests."""

    def __init__(self, answers: list[bytes | tuple[bytes, ...]]) -> None:
        self.answers = answers
        self.express = self.plain = 0
        self.cookie = ""
        self.key = ""
        self.taken = self.landed = self.left = self.known = 0
        self.asked: list[bytes] = []
        self._said = threading.Event()  # all that is to come before an answer
        self._said.set()
        self.loop: asyncio.AbstractEventLoop
        self.redis_url = ""
        self.states: list[ServerState] = []

    def sign_in(self) -> None:
        """Begin another session, as another worker does."""
        self.key, self.cookie = self._run(_sign_in(self.redis_url))

    def sign_out(self) -> None:
        """End the session, as another worker does."""
        self._run(_sign_out(self.redis_url, self.key))

    def stop(self) -> None:
        """Tell all connections that the server stops once their requests are answered."""

        async def tell() -> None:
            for state in self.states:
                for connection in list(state.connections):
                    connection.shutdown()

        self._run(tell())

    def say_first(self, fields: Fields) -> None:
        """Let the servers begin their answers with these fields."""
        for state in self.states:
            state.default_headers = list(fields)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def ask(self, port: int, *pieces: bytes | tuple[bytes, ...]) -> tuple[bytes, list[bytes]]:
        """Send pieces, each after the answers to those before; return what came, and what went on.

        Of a tuple the members are sent with a pause between them, whatever comes meanwhile. Ids
        made by the service are replaced.
        """
        self.asked.clear()
        heard = b""
        due = 0
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            for piece in pieces:
                parts = (piece,) if isinstance(piece, bytes) else piece
                self._said.clear()
                for number, part in enumerate(parts):
                    time.sleep(PAUSE if number else 0)
                    connection.sendall(part)
                self._said.set()
                sent = b"".join(parts)
                due += ALL if NONSENSE in sent else max(1, sent.count(b" HTTP/1.1\r\n"))
                while not _answered(heard, due, bodies=not sent.startswith(b"HEAD")):
                    try:
                        came = connection.recv(65_536)
                    except ConnectionResetError:
                        came = b""
                    if not came:
                        heard += b"<closed>"
                        break
                    heard += came
        return _RANDOM.sub(b"<id>", heard), [_RANDOM.sub(b"<id>", one) for one in self.asked]

    def alike(self, *pieces: bytes | tuple[bytes, ...], times: int = 3) -> int:
        """Send the same both ways, again and again; see that all bytes are equal.

        Returns how many requests were taken the last time.
        """
        before = 0
        for _ in range(times):
            self.warm()
            ordinary = self.ask(self.plain, *pieces)
            self.warm()
            before = self.taken
            assert self.ask(self.express, *pieces) == ordinary, pieces
        return self.taken - before

    def warm(self) -> None:
        """See that the session is at hand, and a connection to the upstream idle."""
        last = self.taken
        deadline = time.monotonic() + PATIENCE
        while self.taken == last:
            assert time.monotonic() < deadline, "no request was taken"
            self.ask(self.express, self.get(b"0"))

    def get(self, path: bytes, *fields: str, close: bool = False) -> bytes:
        """Return the bytes of a GET with the session."""
        lines = ["Host: x", f"Cookie: {self.cookie}", "Sec-Fetch-Site: same-origin", *fields]
        lines += ["Connection: close"] * close
        return b"GET /api/%s HTTP/1.1\r\n%s\r\n\r\n" % (path, "\r\n".join(lines).encode("latin-1"))

    async def answer(self, peer: Peer) -> None:
        """Answer on one connection; what stands for nothing closes it, unless it is fresh."""
        served = 0
        while True:
            head = await peer.head()
            self.asked.append(head)
            number = re.match(rb"GET /api/(\d+)", head)
            script = self.answers[int(number[1]) if number else 0]
            if script == b"" and served:
                return
            for place, piece in enumerate((script,) if isinstance(script, bytes) else script):
                await asyncio.sleep(0.02 if place else 0)
                if piece == b"close":
                    return
                if piece == LONG:
                    while not self._said.is_set():
                        await asyncio.sleep(0.005)
                    await asyncio.sleep(6 * PAUSE)
                    continue
                if piece == NEVER:
                    await peer.until_closed()
                    self.left += 1
                    return
                await peer.say(piece or b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfresh")
            served += 1


def _answered(heard: bytes, count: int, *, bodies: bool = True) -> bool:
    """Whether so many answers are here to their ends; what only the close ends never is."""
    for _ in range(count):
        head, found, heard = heard.partition(b"\r\n\r\n")
        if not found:
            return False
        if not bodies or re.match(rb"HTTP/1\.1 (204|304)", head):
            continue
        if re.search(rb"(?i)transfer-encoding: chunked", head):
            whole = re.match(rb"(?s)(?:[1-9a-f][0-9a-f]*\r\n.*?\r\n)*?0\r\n\r\n", heard)
            size = whole.end() if whole else len(heard) + 1
        else:
            length = re.search(rb"(?i)content-length: (\d+)", head)
            size = int(length[1]) if length else len(heard) + 1
        if len(heard) < size:
            return False
        heard = heard[size:]
    return True


@contextmanager
def two_ways(redis_url: str, answers: list[bytes | tuple[bytes, ...]]) -> Generator[TwoWays]:
    """Run both doors."""
    ways = TwoWays(answers)
    ready, stopping = threading.Event(), asyncio.Event()
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    def work() -> None:
        try:
            with asyncio.Runner() as runner:
                loops.append(runner.get_loop())
                runner.run(_serve(ways, redis_url, ready, stopping))
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine may hold the loop up for so long that the session is not at hand.
        patch.setattr(signals, "PROOF_LASTS", PATIENCE)
        thread.start()
        try:
            assert ready.wait(PATIENCE)
            if not failures:
                yield ways
        finally:
            if thread.is_alive():
                loops[0].call_soon_threadsafe(stopping.set)
            thread.join()
    if failures:
        raise failures[0]


async def _serve(
    ways: TwoWays, redis_url: str, ready: threading.Event, stopping: asyncio.Event
) -> None:
    async with raw_upstream(ways.answer) as upstream:
        app = _application(redis_url, upstream.port)

        async def plain(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        first, second = (Config(one, **server_options()) for one in (app, plain))
        for config in (first, second):
            config.load()
        lifespan = first.lifespan_class(first)
        await lifespan.startup()
        assert not lifespan.should_exit
        ways.loop, ways.redis_url = asyncio.get_running_loop(), redis_url
        ways.key, ways.cookie = await _sign_in(redis_url)
        express = app.express
        assert isinstance(express, Express)

        def counted(line: Line, data: bytes) -> Flight | None:
            taken = express(line, data)
            ways.taken += taken is not None
            return taken

        app.express = counted

        class CountingAnswers(ExpressAnswers):
            def known(self, asked: Asked, data: bytes, server_fields: Fields) -> bytes | None:
                found = super().known(asked, data, server_fields)
                ways.known += found is not None
                return found

        express.answers = CountingAnswers(express.gate, express.proxy)

        class Counting(StrictHttpProtocol):
            def hand_over(self, data: bytes, app: Any) -> Exchange:
                ways.landed += 1
                return super().hand_over(data, app)

        loop = asyncio.get_running_loop()
        states = ways.states = [ServerState(), ServerState()]
        servers: list[asyncio.Server] = []
        for config, state in zip((first, second), states, strict=True):

            def protocol(config: Config = config, state: ServerState = state) -> asyncio.Protocol:
                return Counting(config, state, app_state=lifespan.state, _loop=loop)

            servers.append(await loop.create_server(protocol, "127.0.0.1", 0))
        ways.express, ways.plain = (one.sockets[0].getsockname()[1] for one in servers)
        ready.set()
        await stopping.wait()
        for server in servers:
            server.close()
            await server.wait_closed()
        for state in states:
            for connection in list(state.connections):
                connection.transport.abort()
            while state.connections or state.tasks:
                await asyncio.sleep(0.01)
        await lifespan.shutdown()


def _application(redis_url: str, port: int) -> Application:
    route = {"upstream": f"http://127.0.0.1:{port}", "timeout": 10}
    routes = {
        "/api": route,
        "/api/strict": {**route, "scopes": ["never:granted"]},
        "/api/open": {**route, "auth": "none"},
        "/api/kept": {**route, "auth": "optional", "cookies": True},
    }
    environment = {
        "BFF_BASE_URL": ORIGIN,
        "BFF_REDIS_URL": redis_url,
        "BFF_SECRET": SECRET,
        "BFF_ISSUER": "http://127.0.0.1:1",
        "BFF_CLIENT_ID": "nobody",
        "BFF_CLIENT_AUTH": "none",
        "BFF_ALLOWED_ORIGINS": '["https://spa.example"]',
        "BFF_TRUSTED_PROXIES": '["127.0.0.0/8"]',
        "BFF_ROUTES": json.dumps(routes),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings, table = read_configuration()
    return Application(settings, table)


def _store(redis: Redis) -> SessionStore:
    return SessionStore(redis, Sealer([SECRET], "session"), Lifetimes(1800, 43_200))


async def _sign_out(redis_url: str, key: str) -> None:
    redis = connect(redis_url)
    await _store(redis).end(key, EndReason.LOGOUT)
    await redis.aclose()


async def _sign_in(redis_url: str) -> tuple[str, str]:
    redis = connect(redis_url)
    store = _store(redis)
    cookie = session_cookie([SECRET], loopback_http=True, same_site="strict")
    identifier, written = cookie.issue(secrets.token_bytes(32))
    now = time.time()
    key = names.session_key(identifier)
    session = a_session("x", now=now, key=key, expires_at=now + 9e6)
    await store.create(session, issued_at=now, started_at=0)
    await redis.aclose()
    return key, written.partition(";")[0]
