"""A service with all it needs, for the tests of a whole module: Redis, dev provider, upstream."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.history import Page
from tests.support.processes import DevProvider, Process, Service, start, wait_for
from tests.support.upstream_server import UpstreamServer, upstream_server
from tests.support.user_agent import UserAgent

ROOT = Path(__file__).parents[2]
SECRET = "the secret that seals and signs in tests".replace(" ", "-")


@dataclass(frozen=True)
class Site:
    """Everything of one running service."""

    service: Service
    provider: DevProvider
    redis_url: str
    upstream: UpstreamServer

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self.service.base_url

    def browser(self, **options: Any) -> UserAgent:
        """Return a window of a browser without cookies; close it with `async with`."""
        return UserAgent(self.base_url, **options)

    def logged(self, request_id: str) -> list[dict[str, Any]]:
        """Return the log lines of one request."""
        return [line for line in self.service.log if line.get("request_id") == request_id]


async def sign_in(browser: UserAgent, user: str = "alice", query: str = "") -> Page:
    """Sign a user in at the dev provider; return the page where the browser arrives."""
    page = await browser.navigate(f"/bff/login{query}")
    return await browser.submit(button=user) if page.forms else page


async def signed_in(browser: UserAgent) -> bool:
    """Whether the service says that this browser is signed in."""
    answer = await browser.fetch("/bff/session")
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["authenticated"])


@contextlib.contextmanager
def dev_provider(folder: Path, service_port: int, *options: str) -> Iterator[DevProvider]:
    """Run a dev provider that knows the service on that port."""
    port = processes.free_port()
    base, audience = f"http://127.0.0.1:{service_port}", "http://api.test.localhost"
    process = start(
        [
            "bff.demo.provider", "--port", str(port), "--audience", audience,
            "--client-id", processes.CLIENT_ID, "--client-secret", processes.CLIENT_SECRET,
            "--redirect-uri", f"{base}/bff/callback",
            "--post-logout-redirect-uri", f"{base}/bff/logged-out",
            "--backchannel-logout-uri", f"{base}/bff/backchannel-logout", *options,
        ],
        folder / f"provider-{port}.log",
    )  # fmt: skip
    issuer = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{issuer}/.well-known/openid-configuration", process)
        yield DevProvider(issuer, audience, process)
    finally:
        process.stop()


@contextlib.contextmanager
def bff_serve(
    folder: Path,
    port: int,
    env: Mapping[str, str],
    *,
    workers: int = 1,
    wait: str | None = "readyz",
    arguments: list[str] | None = None,
) -> Iterator[Service]:
    """Run `bff serve` with this environment; `wait`: the health page that must answer first.

    `arguments` start it by another entry point.
    """
    process: Process = start(
        [*(arguments or ["bff", "serve", "--workers", str(workers)]), "--port", str(port)],
        folder / f"service-{port}.log",
        {"PYTHONPATH": str(ROOT), **env},
        cwd=folder,  # where no `.env` of a developer lies
    )
    base_url = f"http://127.0.0.1:{port}"
    try:
        if wait is not None:
            wait_for(f"{base_url}/bff/{wait}", process)
        yield Service(base_url, process, dict(env))
    finally:
        process.stop()


def usual(port: int, redis_url: str) -> dict[str, str]:
    """Return the variables that are alike for most tests."""
    return {
        "BFF_BASE_URL": f"http://127.0.0.1:{port}",
        "BFF_REDIS_URL": redis_url,
        "BFF_SECRET": SECRET,
        "BFF_LOG_FORMAT": "json",
        "BFF_LOG_LEVEL": "debug",
        "BFF_LOGIN_RATE_LIMIT": "",
    }


@contextlib.contextmanager
def open_site(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    workers: int = 1,
    provider_options: tuple[str, ...] = (),
) -> Iterator[Site]:
    """Run everything. `/api` leads to the upstream with a session, `/open` without."""
    port = processes.free_port()
    with (
        processes.redis_server(folder) as redis_url,
        upstream_server() as upstream,
        dev_provider(folder, port, *provider_options) as provider,
    ):
        routes = {"/api": upstream.url, "/open": {"upstream": upstream.url, "auth": "none"}}
        variables = {
            **usual(port, redis_url),
            **provider.settings(),
            "BFF_ROUTES": json.dumps(routes),
            **(env or {}),
        }
        with bff_serve(folder, port, variables, workers=workers) as service:
            yield Site(service, provider, redis_url, upstream)
