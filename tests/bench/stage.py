"""Everything that a measurement needs, started when it is first asked for, ended with the stack.

On the one core: what is measured, which is the service, the bare nginx, or Apache. On the others:
wrk, the upstream, Redis, and the providers. Sessions come from real logins at the dev provider; the
thousands of others are written through the store.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import redis as sync_redis

from tests.bench import neighbours, people, provider
from tests.bench.load import Wrk
from tests.bench.logins import Place
from tests.bench.machine import cores, family, pinned
from tests.bench.neighbours import APACHE_COOKIE, Registration, Server
from tests.support.keep_alive import workers
from tests.support.processes import DevProvider, Service, free_port, redis_server, start, wait_for
from tests.support.site import bff_serve, dev_provider, usual

PATH = "/api/orders?page=2"
REFRESH_DELAY = 0.5


@dataclass(frozen=True)
class Target:
    """What a load is sent to: its address, what to send, and the processes to weigh.

    Only what goes to the upstream itself brings an `authorization`: proxies have to attach one.
    """

    name: str
    url: str
    cookies: tuple[str, ...]
    pids: Callable[[], list[int]]
    authorization: str = ""


class Stage:
    """The servers of one run of the benchmark."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.cores = cores()
        with pinned(self.cores.load):
            self.redis_url = stack.enter_context(redis_server(folder))
        self._fast_redis_url = self.redis_url.removesuffix("/0") + "/2"
        self.upstream = neighbours.upstream(stack, folder, self.cores.load)
        self.wrk = Wrk(folder, self.cores.load)
        self._services: list[Service] = []
        self._port, self._apache_dev, self._apache_fast = (free_port() for _ in range(3))

    @cached_property
    def dev(self) -> DevProvider:
        """The dev provider, at which people sign in by its pages."""
        with pinned(self.cores.load):
            return self._stack.enter_context(
                dev_provider(
                    self._folder, self._port,
                    "--redirect-uri", f"http://127.0.0.1:{self._apache_dev}/callback",
                    "--access-token-lifetime", str(people.LIFETIME),
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
        cookie = asyncio.run(people.at_the_service(running.base_url, self.redis_url))
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
            "BFF_REDIS_URL": self._fast_redis_url,
        }
        running = self._serve(free_port(), settings, 1, self.cores.service)
        place = Place(running.base_url, "/bff/login", "/bff/callback", people.COOKIE)
        return _target("bff", running, ()), place

    @cached_property
    def nginx(self) -> Target:
        """A bare nginx proxy."""
        return self._bare("bare nginx", self.cores.service, 1)

    @cached_property
    def two_nginx_workers(self) -> Target:
        """The same with two workers on two cores."""
        return self._bare("bare nginx, 2 workers", self.cores.all, 2)

    @cached_property
    def direct(self) -> Target:
        """The upstream itself."""
        return Target(
            "direct", self.upstream.url + PATH, (), lambda: self.upstream.pids, neighbours.TOKEN
        )

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
        cookie = asyncio.run(people.at_apache(origin, PATH))
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

    def complaints(self) -> str:
        """Say what the service logged as warnings or worse, the most frequent first."""
        found = Counter(
            " ".join(
                str(line[name]) for name in ("event", "code", "reason", "kind") if name in line
            )
            for service in self._services
            for line in service.log
            if line["level"] not in {"debug", "info"} or line["event"] == "request.refused"
        )
        return "; ".join(f"{number:,} times {what}" for what, number in found.most_common(5))

    def seed(self, number: int, *, due: bool = False, at_fast: bool = False) -> tuple[str, ...]:
        """Write sessions as logins do; return their cookies. `due`: their tokens have expired."""
        url, issuer = (
            (self._fast_redis_url, self.fast.url) if at_fast else (self.redis_url, self.dev.issuer)
        )
        return asyncio.run(people.by_the_store(url, issuer, number, due=due))

    def _bare(self, name: str, on: frozenset[int], workers: int) -> Target:
        server = neighbours.bare_proxy(
            self._stack, self._folder, on, self.upstream, workers=workers
        )
        return Target(name, server.url + PATH, (), lambda: server.pids)

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
            running = bff_serve(self._folder, port, env, workers=number)
            self._services.append(self._stack.enter_context(running))
        return self._services[-1]


def _target(name: str, running: Service, cookies: tuple[str, ...]) -> Target:
    return Target(name, running.base_url + PATH, cookies, lambda: workers(running.process))
