"""A service of several workers, or several of it, at one Redis and at a provider in this process.

Tests reach into the store with the service's own secret, to make a token old without waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

from bff.sessions import names
from bff.sessions.redis import Redis, connect
from bff.sessions.seal import Sealer
from bff.sessions.session import Session
from bff.sessions.store import Lifetimes, SessionStore
from tests.support import processes
from tests.support.keep_alive import Connection, spread, workers
from tests.support.minting import Minting
from tests.support.processes import Service
from tests.support.scripted_provider import scripted_provider
from tests.support.site import SECRET, bff_serve, usual
from tests.support.user_agent import UserAgent

COOKIE = "bff"


@dataclass
class Upstream:
    """What is behind `/api`: notes the tokens that come; `/stream` goes on until it is closed."""

    port: int = 0
    tokens: list[str] = field(default_factory=list[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").lower().split("\r\n")
                found = [line for line in lines if line.startswith("authorization:")]
                self.tokens.append(found[0].rpartition(" ")[2] if found else "")
                if "/stream" in first:
                    await self._stream(writer)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            writer.write(b"9\r\ndata: x\n\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """Run an upstream."""
    behind = Upstream()
    server = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    behind.port = server.sockets[0].getsockname()[1]
    try:
        yield behind
    finally:
        server.close()
        tasks = [one for one in asyncio.all_tasks() if "Upstream.serve" in repr(one.get_coro())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Fleet:
    """The services, their provider, and what is behind them."""

    services: list[Service]
    minting: Minting
    upstream: Upstream
    redis: Redis
    redis_url: str
    store: SessionStore
    client: httpx2.AsyncClient
    stack: contextlib.AsyncExitStack

    @property
    def base_url(self) -> str:
        """Where the first service is."""
        return self.services[0].base_url

    @property
    def pids(self) -> list[int]:
        """The worker processes."""
        return [pid for service in self.services for pid in workers(service.process)]

    def browser(self, service: int = 0, **options: Any) -> UserAgent:
        """Return a window of a browser without cookies; it is closed with the fleet."""
        browser = UserAgent(self.services[service].base_url, **options)
        self.stack.push_async_callback(browser.aclose)
        return browser

    async def signed_in(
        self, sub: str = "alice", sid: str | None = None, **options: Any
    ) -> UserAgent:
        """Return a browser that is signed in; `options` are its own."""
        browser = self.browser(**options)
        page = await self.minting.sign_in(browser, sub, sid)
        assert page.status == 200, page.text
        return browser

    async def connections(self, number: int, service: int = 0) -> list[Connection]:
        """Open connections; they are closed with the fleet."""
        opened = [await Connection.open(self.services[service].base_url) for _ in range(number)]
        for one in opened:
            self.stack.push_async_callback(one.aclose)
        return opened

    async def spread(self, number: int) -> list[Connection]:
        """Open connections to the first service, some to each of its workers."""
        opened = await spread(self.base_url, number, workers(self.services[0].process))
        for one in opened:
            self.stack.push_async_callback(one.aclose)
        return opened

    async def session(self, browser: UserAgent) -> Session | None:
        """Return what Redis has of a browser's session."""
        return await self.session_of(key_of(browser))

    async def session_of(self, key: str) -> Session | None:
        """Return what Redis has of a session."""
        return await self.store.reload(key)

    async def age(self, browser: UserAgent, left: float) -> Session:
        """Let a browser's access token have `left` seconds to live (negative: expired)."""
        session = await self.session(browser)
        assert session is not None
        now = time.time()
        tokens = replace(session.tokens, obtained_at=now - 3600, expires_at=now + left)
        aged = session.with_tokens(tokens)
        assert await self.store.save(aged)
        await asyncio.sleep(0.1)  # until every worker has heard of it
        return aged

    async def provider_says(self, service: int = 0, **who: str) -> httpx2.Response:
        """Sign a `sub` or a `sid` out over the back channel."""
        return await self.deliver(self.minting.logout_token(**who), service)

    async def deliver(self, token: str, service: int = 0) -> httpx2.Response:
        """Send a logout token as the provider does."""
        url = f"{self.services[service].base_url}/bff/backchannel-logout"
        return await self.client.post(url, data={"logout_token": token})

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event in all logs."""
        return [line for service in self.services for line in service.events(event)]


def cookie_of(browser: UserAgent) -> str:
    """Return the session cookie that a browser sends."""
    return f"{COOKIE}={browser.cookies.get(COOKIE)}"


def key_of(browser: UserAgent) -> str:
    """Return the key of a browser's session."""
    value = browser.cookies.get(COOKIE)
    assert value is not None
    return names.session_key(value.rpartition(".")[0])


@contextlib.asynccontextmanager
async def open_fleet(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    workers: int = 1,
    services: int = 1,
    arguments: list[str] | None = None,
) -> AsyncIterator[Fleet]:
    """Run so many services of so many workers each; `arguments`: by another entry point."""
    async with contextlib.AsyncExitStack() as stack:
        minting = Minting(await stack.enter_async_context(scripted_provider()))
        behind = await stack.enter_async_context(upstream())
        redis_url = stack.enter_context(processes.redis_server(folder))
        ports = [processes.free_port() for _ in range(services)]
        variables = {
            **usual(ports[0], redis_url),
            **minting.settings(),
            "BFF_ROUTES": json.dumps({"/api": f"http://127.0.0.1:{behind.port}"}),
            **(env or {}),
        }
        started: list[Service] = []
        for port in ports:
            running = bff_serve(folder, port, variables, workers=workers, arguments=arguments)
            started.append(await asyncio.to_thread(running.__enter__))
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        lifetimes = Lifetimes(
            float(variables.get("BFF_SESSION_IDLE_TIMEOUT", "1800")),
            float(variables.get("BFF_SESSION_MAX_LIFETIME", "43200")),
        )
        store = SessionStore(redis, Sealer([SECRET], "session"), lifetimes)
        client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=20))
        inner = await stack.enter_async_context(contextlib.AsyncExitStack())
        yield Fleet(started, minting, behind, redis, redis_url, store, client, inner)
