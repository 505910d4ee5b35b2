"""`bff demo`: everything on this machine, in one process, with no configuration.

A provider, an API, an SPA, Redis and the service, on loopback. Each first port has a data folder of
its own, so that demos on other ports keep their own sessions. Ctrl-C ends everything at any moment,
also while it starts; what still goes on then gets two seconds, and a second Ctrl-C gives it none.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from bff import logs
from bff.app import create_app
from bff.demo import terminal
from bff.demo.addresses import Addresses, PortsTakenError
from bff.demo.api import create_api
from bff.demo.loopback import SERVER_OPTIONS
from bff.demo.one_host import OneHost
from bff.demo.provider import Client, ProviderConfig, create_provider
from bff.proxy.route_config import parse_routes
from bff.server import server_options
from bff.sessions.embedded import (
    EmbeddedRedis,
    NoRedisServerError,
    data_dir,
    find_server,
    kept_secret,
)
from bff.settings import Settings

CLIENT_ID = "demo-spa-bff"
SPA = Path(__file__).parent / "spa"
START_SECONDS = 20.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the runner: one Ctrl-C ends all three servers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve; where that fails end this server only, the runner ends the rest."""
        try:
            await super().startup(sockets)
        except SystemExit:
            self.should_exit = True


class _Ending:
    """Whether somebody asked for the end; nothing is interrupted in the middle of a step.

    The signals are heard from the first step to the last, not only while an event loop runs: one
    that came just behind the loop would end the demo at once, and leave its Redis alone.
    """

    def __init__(self) -> None:
        self._signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup outlives its terminal
            self._signals.append(signal.SIGHUP)
        self.asked = False
        self.tell: Callable[[], object] = lambda: None
        for number in self._signals:
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True
        with contextlib.suppress(RuntimeError):  # the loop is over
            self.tell()

    def ignore_more(self) -> None:
        """Let nobody disturb the end."""
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)


def run_demo(port: int) -> int:
    """Run the demo until Ctrl-C. Return the exit code."""
    console = terminal.console()
    addresses = Addresses(port)
    ending = _Ending()
    with contextlib.ExitStack() as stack:
        try:
            sockets = addresses.listen(stack)
            folder = data_dir(None) / "demo" / str(addresses.port)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _has_redis():
                terminal.no_redis(console)
                return 1
            redis = EmbeddedRedis(folder)
            stack.callback(redis.stop)
            stack.callback(ending.ignore_more)
            with console.status("Starting Redis"):
                redis.start(lambda: ending.asked)
            return asyncio.run(_serve(console, addresses, sockets, redis.url, folder, ending))
        except PortsTakenError as error:
            terminal.taken(console, error.ports, addresses.others())
        except NoRedisServerError as error:
            if ending.asked:
                return 0
            console.print(f"The demo needs Redis: {error}", style="red")
    return 1


def _has_redis() -> bool:
    try:
        find_server()
    except NoRedisServerError:
        return False
    return True


async def _serve(
    console: Console,
    addresses: Addresses,
    sockets: list[list[socket.socket]],
    redis_url: str,
    folder: Path,
    ending: _Ending,
) -> int:
    servers: list[_Server] = []
    stopping = asyncio.Event()

    def stop() -> None:
        for server in servers:
            server.force_exit = stopping.is_set()
        stopping.set()

    loop = asyncio.get_running_loop()
    ending.tell = lambda: loop.call_soon_threadsafe(stop)
    if ending.asked:
        return 0
    tasks: list[asyncio.Task[Any]] = []
    with console.status("Starting the provider, the API and the service"):
        secret = kept_secret(folder)
        apps = _apps(addresses, redis_url, secret, folder)
        logs.configure("console", "warning")
        for app, options, listening in zip(apps, _options(), sockets, strict=True):
            servers.append(_Server(uvicorn.Config(app, **options)))
            tasks.append(asyncio.create_task(servers[-1].serve(sockets=listening)))
        runs = await _started(servers, tasks, stopping)
    if runs:
        terminal.welcome(console, addresses, folder)
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    console.print("Stopping." if stopping.is_set() else "The demo ended: a part of it failed.")
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)
    return 0 if stopping.is_set() else 1


async def _started(
    servers: list[_Server], tasks: list[asyncio.Task[Any]], stopping: asyncio.Event
) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while not all(server.started for server in servers):
        over = stopping.is_set() or any(task.done() for task in tasks)
        if over or time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return not stopping.is_set()


def _apps(addresses: Addresses, redis_url: str, secret: str, folder: Path) -> tuple[ASGIApp, ...]:
    service = OneHost(_service(addresses, redis_url, secret), addresses.service)
    provider = _provider(addresses, secret, folder / "provider.json")
    return service, provider, create_api(addresses.provider, addresses.api)


def _options() -> tuple[dict[str, Any], ...]:
    plain = {**SERVER_OPTIONS, "log_config": None}
    grace = SERVER_OPTIONS["timeout_graceful_shutdown"]
    return {**server_options(), "timeout_graceful_shutdown": grace}, plain, plain


def _service(addresses: Addresses, redis_url: str, secret: str) -> ASGIApp:
    # Validated as they are: what the environment says about another service means nothing here.
    settings = Settings.model_validate(
        {
            "base_url": addresses.service,
            "issuer": addresses.provider,
            "client_id": CLIENT_ID,
            "client_secret": secret,
            "scopes": "openid profile email offline_access orders:read",
            "redis_url": redis_url,
            "secret": secret,
            "spa": str(SPA),
            "log_format": "console",
            "log_level": "warning",
        }
    )
    routes = parse_routes(
        {
            "/api": addresses.api,
            "/api/public": {"upstream": addresses.api, "auth": "none"},
        }
    )
    return create_app(settings, routes)


def _provider(addresses: Addresses, secret: str, memory: Path) -> ASGIApp:
    client = Client(
        client_id=CLIENT_ID,
        client_secret=secret,
        redirect_uris=(f"{addresses.service}/bff/callback",),
        post_logout_redirect_uris=(f"{addresses.service}/bff/logged-out",),
        backchannel_logout_uri=f"http://127.0.0.1:{addresses.port}/bff/backchannel-logout",
    )
    return create_provider(
        ProviderConfig(issuer=addresses.provider, clients=(client,), audience=addresses.api),
        memory=memory,
    )
