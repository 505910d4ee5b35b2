"""What tests of the whole service share: a real Redis, the dev provider, the demo API, `bff serve`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
import redis

from tests.support import processes
from tests.support.processes import DevProvider, Process, Service, start, wait_for

__all__ = ["RunService", "Service"]


class RunService(Protocol):
    """Starts `bff serve`; it ends with the test."""

    def __call__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
        port: int | None = None,
        ready: bool = True,
    ) -> Service:
        """`env` adds to what every test needs; without `ready` only its health is waited for."""
        ...


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis server that all tests share."""
    with processes.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_process: str) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(redis_process) as client:
        client.flushall()
    return redis_process


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that finds a free port."""
    return processes.free_port


@pytest.fixture
def service_port() -> int:
    """The port of the service under test, so that a provider can be told of it first."""
    return processes.free_port()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """A function that starts a child process; all of them are ended after the test."""
    started: list[Process] = []

    def begin(arguments: list[str], env: Mapping[str, str] | None = None) -> Process:
        process = start(arguments, tmp_path / f"process-{len(started)}.log", env)
        started.append(process)
        return process

    yield begin
    for process in reversed(started):
        process.stop()


@pytest.fixture
def start_provider(
    start_process: Callable[..., Process], service_port: int
) -> Callable[..., DevProvider]:
    """A function that starts a dev provider for the service under test."""

    def begin(*options: str, port: int | None = None) -> DevProvider:
        port = port or processes.free_port()
        base, audience = f"http://127.0.0.1:{service_port}", "http://api.test.localhost"
        process = start_process(
            [
                "bff.demo.provider", "--port", str(port), "--audience", audience,
                "--client-id", processes.CLIENT_ID, "--client-secret", processes.CLIENT_SECRET,
                "--redirect-uri", f"{base}/bff/callback",
                "--post-logout-redirect-uri", f"{base}/bff/logged-out",
                "--backchannel-logout-uri", f"{base}/bff/backchannel-logout", *options,
            ]
        )  # fmt: skip
        issuer = f"http://127.0.0.1:{port}"
        wait_for(f"{issuer}/.well-known/openid-configuration", process)
        return DevProvider(issuer, audience, process)

    return begin


@pytest.fixture
def dev_provider(start_provider: Callable[..., DevProvider]) -> DevProvider:
    """A dev provider that knows the service under test."""
    return start_provider()


@pytest.fixture
def demo_api(start_process: Callable[..., Process], dev_provider: DevProvider) -> str:
    """The address of a demo API that believes the dev provider."""
    port = processes.free_port()
    process = start_process(
        ["bff.demo.api", "--port", str(port), "--issuer", dev_provider.issuer,
         "--audience", dev_provider.audience]
    )  # fmt: skip
    wait_for(f"http://127.0.0.1:{port}/api/public", process)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def run_service(
    start_process: Callable[..., Process], redis_url: str, service_port: int
) -> RunService:
    """A function that starts the service and waits until it is ready."""

    def begin(
        env: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
        port: int | None = None,
        ready: bool = True,
    ) -> Service:
        port = port or service_port
        base_url = f"http://127.0.0.1:{port}"
        everything = {
            "BFF_BASE_URL": base_url,
            "BFF_REDIS_URL": redis_url,
            "BFF_SECRET": processes.SECRET.replace(" ", "-"),
            "BFF_LOG_FORMAT": "json",
            "BFF_LOG_LEVEL": "debug",
            "BFF_LOGIN_RATE_LIMIT": "1000/minute",
            **(env or {}),
        }
        process = start_process(
            ["bff", "serve", "--port", str(port), "--workers", str(workers)], everything
        )
        wait_for(f"{base_url}/bff/{'readyz' if ready else 'healthz'}", process)
        return Service(base_url, process, everything)

    return begin
