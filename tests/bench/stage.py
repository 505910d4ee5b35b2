"""Everything that a measurement needs, started when it is first asked for, ended with the stack.

On the one core: what is measured, which is the service, the bare nginx, or Apache. On the others:
wrk, the upstream, Redis, and the providers. Sessions come from real logins at the dev provider; the
thousands of others are written through the store, as a login writes them.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import redis as sync_redis

from bff.sessions import names
from bff.sessions.cookies import session_cookie
from bff.sessions.redis import connect
from bff.sessions.seal import Sealer
from bff.sessions.store import Lifetimes, SessionStore
from tests.bench import neighbours, provider
from tests.bench.load import Wrk
from tests.bench.logins import Place
from tests.bench.machine import CannotMeasureError, cores, family, pinned
from tests.bench.neighbours import APACHE_COOKIE, Registration, Server
from tests.bench.sessions import create, long_tokens, new_session
from tests.support.keep_alive import workers
from tests.support.processes import DevProvider, Service, free_port, redis_server, start, wait_for
from tests.support.site import SECRET, bff_serve, dev_provider, sign_in, usual
from tests.support.user_agent import UserAgent

PATH = "/api/orders?page=2"
COOKIE = "bff"
LIFETIMES = Lifetimes(idle=1800, absolute=43_200)
TOKEN_LIFETIME = 7200
REFRESH_DELAY = 0.5


@dataclass(frozen=True)
class Target:
    """What a load is sent to: its address, the cookies to send, and the processes to weigh."""

    name: str
    url: str
    cookies: tuple[str, ...]
    pids: Callable[[], list[int]]


class Stage:
    """The servers of one run of the benchmark."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.cores = cores()
        with pinned(self.cores.load):
            self.redis_url = stack.enter_context(redis_server(folder))
        self.upstream = neighbours.upstream(stack, folder, self.cores.load)
        self.wrk = Wrk(folder, self.cores.load)
        self._port, self._apache_dev, self._apache_fast = (free_port() for _ in range(3))

    @cached_property
    def dev(self) -> DevProvider:
        """The dev provider, at which people sign in by its pages."""
        with pinned(self.cores.load):
            return self._stack.enter_context(
                dev_provider(
                    self._folder, self._port,
                    "--redirect-uri", f"http://127.0.0.1:{self._apache_dev}/callback",
                    "--access-token-lifetime", str(TOKEN_LIFETIME),
                )
            )  # fmt: skip

    @cached_property
    def fast(self) -> Server:
        """The provider that costs little, with its slow API."""
        port = free_port()
        with pinned(self.cores.load):
            process = start(
                ["tests.bench.provider", "--port", str(port),
                 "--refresh-delay", str(REFRESH_DELAY)],
                self._folder / "fast-provider.log",
            )  # fmt: skip
        self._stack.callback(process.stop)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/jwks", process)
        return Server(url, process)

    @cached_property
    def service(self) -> Target:
        """The service with one worker, and a session that began at the dev provider."""
        running = self._serve(self._port, self.dev.settings(), 1, self.cores.service)
        asyncio.run(self._check(cookie := asyncio.run(_walk(running.base_url, "")), running))
        return _target("bff", running, (cookie,))

    @cached_property
    def two_workers(self) -> Target:
        """The service with two workers on two cores; it knows the sessions of the other."""
        running = self._serve(free_port(), self.dev.settings(), 2, self.cores.all)
        return _target("bff, 2 workers", running, self.service.cookies)

    @cached_property
    def at_fast(self) -> tuple[Target, Place]:
        """The service at the fast provider, without a session yet; and where to sign in."""
        settings = {
            "BFF_ISSUER": self.fast.url,
            "BFF_CLIENT_ID": provider.CLIENT_ID,
            "BFF_CLIENT_SECRET": provider.CLIENT_SECRET,
            "BFF_SCOPES": provider.SCOPE,
            "BFF_REDIS_URL": f"{self.redis_url.rpartition('/')[0]}/2",
        }
        running = self._serve(free_port(), settings, 1, self.cores.service)
        place = Place(running.base_url, "/bff/login", "/bff/callback", COOKIE)
        return _target("bff", running, ()), place

    @cached_property
    def nginx(self) -> Target:
        """A bare nginx proxy."""
        server = neighbours.bare_proxy(self._stack, self._folder, self.cores.service, self.upstream)
        return Target("bare nginx", server.url + PATH, (), lambda: server.pids)

    @cached_property
    def direct(self) -> Target:
        """The upstream itself."""
        return Target("direct", self.upstream.url + PATH, (), lambda: self.upstream.pids)

    @cached_property
    def apache(self) -> Target:
        """Apache with mod_auth_openidc, and a session that began at the dev provider."""
        registrations = [
            Registration(
                self._apache_dev, self.dev.issuer, self.dev.client_id, self.dev.client_secret,
                self.dev.settings()["BFF_SCOPES"],
            ),
            Registration(
                self._apache_fast, self.fast.url, provider.CLIENT_ID, provider.CLIENT_SECRET,
                provider.SCOPE,
            ),
        ]  # fmt: skip
        process = neighbours.apache(
            self._stack, self._folder, self.cores.service, self.upstream, self.redis_url,
            registrations,
        )  # fmt: skip
        origin = f"http://127.0.0.1:{self._apache_dev}"
        cookie = asyncio.run(_walk(origin, PATH))
        return Target(
            "mod_auth_openidc", origin + PATH, (cookie,), lambda: family(process.popen.pid)
        )

    @property
    def apache_logins(self) -> Place:
        """Where to sign in at the fast provider by way of Apache."""
        origin = f"http://127.0.0.1:{self._apache_fast}"
        return Place(origin, PATH, "/callback", APACHE_COOKIE)

    @property
    def helpers(self) -> list[int]:
        """The processes that share the cores of the load: the upstream and Redis."""
        with sync_redis.Redis.from_url(self.redis_url) as client:
            return [*self.upstream.pids, int(client.info("server")["process_id"])]

    def seed(self, number: int, *, due: bool = False, at_fast: bool = False) -> tuple[str, ...]:
        """Write sessions as logins do; return their cookies. `due`: their tokens have expired."""
        cookie = session_cookie([SECRET], loopback_http=True, same_site="strict")
        now = time.time()
        cookies, sessions = list[str](), []
        for _ in range(number):
            identifier, sent = cookie.issue(os.urandom(32))
            session = new_session(long_tokens)
            ends = now - 1 if due else now + TOKEN_LIFETIME
            tokens = replace(session.tokens, obtained_at=now - 3600, expires_at=ends)
            key = names.session_key(identifier)
            issuer = self.fast.url if at_fast else self.dev.issuer
            sessions.append(replace(session, key=key, iss=issuer, tokens=tokens))
            cookies.append(sent.partition(";")[0])

        async def write() -> None:
            client = connect(f"{self.redis_url.rpartition('/')[0]}/{2 if at_fast else 0}")
            await create(SessionStore(client, Sealer([SECRET], "session"), LIFETIMES), sessions)
            await client.aclose()

        asyncio.run(write())
        return tuple(cookies)

    def _serve(
        self, port: int, settings: dict[str, str], number: int, on: frozenset[int]
    ) -> Service:
        routes = {"/api": self.upstream.url, "/slow": self.fast.url}
        env = {
            **usual(port, self.redis_url),
            "BFF_ROUTES": json.dumps(routes),
            "BFF_LOG_LEVEL": "info",
            **settings,
        }
        with pinned(on):
            return self._stack.enter_context(bff_serve(self._folder, port, env, workers=number))

    async def _check(self, cookie: str, running: Service) -> None:
        """See that the upstream gets the very token that the provider gave to this session."""
        client = connect(self.redis_url)
        store = SessionStore(client, Sealer([SECRET], "session"), LIFETIMES)
        value = cookie.partition("=")[2]
        session = await store.reload(names.session_key(value.rpartition(".")[0]))
        await client.aclose()
        async with UserAgent(running.base_url) as browser:
            browser.cookies.store(running.base_url, f"{cookie}; Path=/")
            answer = await browser.fetch("/api/token")
        if session is None or answer.text != f"Bearer {session.tokens.access_token}":
            raise CannotMeasureError("the upstream did not get the token of the session")


def _target(name: str, running: Service, cookies: tuple[str, ...]) -> Target:
    return Target(name, running.base_url + PATH, cookies, lambda: workers(running.process))


async def _walk(origin: str, path: str) -> str:
    """Sign alice in at the dev provider by its pages; return the session cookie that was set.

    Without a `path` the login begins at the service's own page; with one, by asking for it.
    """
    async with UserAgent(origin) as browser:
        if path:
            await browser.navigate(path)
            page = await browser.submit(button="alice")
        else:
            page = await sign_in(browser)
        name = APACHE_COOKIE if path else COOKIE
        value = browser.cookies.get(name)
        if page.status != 200 or value is None:
            raise CannotMeasureError(f"no login at {origin}: {page.status} {page.text[:200]}")
        return f"{name}={value}"
