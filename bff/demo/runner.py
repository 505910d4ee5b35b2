"""`bff demo`: everything on this machine, in one process, with no configuration.

A provider, an API, an SPA, Redis and the service, on loopback. The provider and the service have
different host names on purpose, so that signing in crosses sites as it does in real life.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console
from rich.table import Table
from rich.text import Text
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bff import logs
from bff.app import create_app, kept_secret
from bff.demo.api import create_api
from bff.demo.provider import Client, ProviderConfig, create_provider
from bff.demo.provider.users import USERS, User
from bff.proxy.route_config import parse_routes
from bff.server import server_options
from bff.sessions.embedded import EmbeddedRedis, NoRedisServerError, data_dir
from bff.settings import Settings

CLIENT_ID = "demo-spa-bff"
SPA = Path(__file__).parent / "spa"
READY_SECONDS = 20.0
HOUSEKEEPING = ("/bff/healthz", "/bff/readyz", "/bff/backchannel-logout")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is."""

    port: int

    @property
    def service(self) -> str:
        """Return the origin of the SPA and the service."""
        return f"http://localhost:{self.port}"

    @property
    def provider(self) -> str:
        """Return the issuer."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def api(self) -> str:
        """Return the API, which is also the audience of its tokens."""
        return f"http://127.0.0.1:{self.port + 2}"

    @property
    def ports(self) -> tuple[int, int, int]:
        """Return the ports of service, provider and API."""
        return self.port, self.port + 1, self.port + 2


class OneHost:
    """Sends a browser that came by another name of this machine to the one that has the cookies."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._base_url = base_url
        self._host = base_url.partition("://")[2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect a GET that asks another host, except those of machines."""
        if scope["type"] == "http" and scope["method"] == "GET":
            host = Headers(scope=scope).get("host")
            if host != self._host and scope["path"] not in HOUSEKEEPING:
                query = scope["query_string"].decode("latin-1")
                path = scope["raw_path"].decode("latin-1")
                url = self._base_url + path + (f"?{query}" if query else "")
                await RedirectResponse(url, 307)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the runner: one Ctrl-C ends all three servers."""
        yield


def run_demo(port: int) -> int:
    """Run the demo until Ctrl-C. Return the exit code."""
    console = Console(highlight=False)
    addresses = Addresses(port)
    taken = [number for number in addresses.ports if not _free(number)]
    if taken:
        ports = ", ".join(map(str, taken))
        console.print(
            f"Port {ports} is in use. Start with another: bff demo --port {port + 100}", style="red"
        )
        return 1
    folder = data_dir(None) / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    redis = EmbeddedRedis(folder)
    try:
        with console.status("Starting Redis"):
            redis.start()
    except NoRedisServerError as error:
        console.print(f"The demo needs Redis: {error}.", style="red")
        return 1
    try:
        return asyncio.run(_serve(console, addresses, redis.url, folder))
    finally:
        redis.stop()


async def _serve(console: Console, addresses: Addresses, redis_url: str, folder: Path) -> int:
    secret = kept_secret(folder)
    service = _service(addresses, redis_url, secret)
    logs.configure("console", "warning")
    servers = [
        _Server(uvicorn.Config(app, host="127.0.0.1", port=number, **options))
        for app, number, options in (
            (_provider(addresses, secret), addresses.port + 1, _plain()),
            (create_api(addresses.provider, addresses.api), addresses.port + 2, _plain()),
            (OneHost(service, addresses.service), addresses.port, server_options()),
        )
    ]
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tasks: list[asyncio.Task[Any]] = []
    with console.status("Starting the provider, the API and the service"):
        for server in servers:
            tasks.append(asyncio.create_task(server.serve()))
            await _started(server, tasks[-1])
    _welcome(console, addresses, folder)
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    console.print("\nStopping.")
    for server in reversed(servers):
        server.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)
    waiting.cancel()
    return 0 if stopping.is_set() else 1


async def _started(server: uvicorn.Server, task: asyncio.Task[Any]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not server.started and not task.done() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


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


def _provider(addresses: Addresses, secret: str) -> ASGIApp:
    client = Client(
        client_id=CLIENT_ID,
        client_secret=secret,
        redirect_uris=(f"{addresses.service}/bff/callback",),
        post_logout_redirect_uris=(f"{addresses.service}/bff/logged-out",),
        backchannel_logout_uri=f"http://127.0.0.1:{addresses.port}/bff/backchannel-logout",
    )
    return create_provider(
        ProviderConfig(issuer=addresses.provider, clients=(client,), audience=addresses.api)
    )


def _plain() -> dict[str, Any]:
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "ws": "websockets-sansio",
        "timeout_graceful_shutdown": 2,
    }


def _welcome(console: Console, addresses: Addresses, folder: Path) -> None:
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 2))
    table.add_row("Application", Text(addresses.service, style="bold cyan"), "open this one")
    table.add_row("Provider", Text(addresses.provider, style="cyan"), "signs users out everywhere")
    table.add_row("API", Text(addresses.api, style="cyan"), "believes only its tokens")
    table.add_row("Redis", Text(str(folder), style="dim"), "sessions live through a restart")
    users = Table(box=None, show_header=False, padding=(0, 3, 0, 2))
    for user in USERS:
        users.add_row(Text(user.sub, style="bold"), user.name, _powers(user))
    console.print("\nThe demo runs.\n", style="bold green")
    console.print(table)
    console.print("\n  Sign in as one of these; no password is asked for.\n", style="bold")
    console.print(users)
    console.print("\n  Ctrl-C ends everything.", style="dim")
    sys.stdout.flush()


def _powers(user: User) -> str:
    scopes = " ".join(user.api_scopes) or "no scope of the API"
    return f"role {user.roles[0]}, {scopes}"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
