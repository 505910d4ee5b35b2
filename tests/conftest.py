"""What tests share: real Redis, providers, demo API, `bff serve`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from redis import Redis as Client

from bff.sessions.redis import Redis, connect
from tests.support import processes
from tests.support.prerequisites import pytest_terminal_summary, pytest_testnodedown
from tests.support.processes import Cast, DevProvider, Service
from tests.support.scripted_provider import ScriptedProvider, scripted_provider
from tests.support.side_by_side import (
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)

__all__ = [
    "RunService",
    "Service",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "pytest_xdist_auto_num_workers",
    "pytest_xdist_make_scheduler",
]

LONGEST_NAME = 64  # characters of a parameter that names its test


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by a long parameter's place: keys and tokens are others in each process."""
    return argname if isinstance(val, (str, bytes)) and len(val) > LONGEST_NAME else None


class RunService(Protocol):
    """Starts `bff serve`; it ends with the test."""

    def __call__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
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
    with Client.from_url(redis_process) as client:
        client.flushall()
    return redis_process


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Our connection to an empty Redis."""
    redis = connect(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedProvider]:
    """A provider on a real socket that says what a test wants."""
    async with scripted_provider() as provider:
        yield provider


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that finds a free port."""
    return processes.free_port


@pytest.fixture
def cast(redis_url: str, tmp_path: Path) -> Iterator[Cast]:
    """Starts what a test needs; all of it ends with the test."""
    with ExitStack() as stack:
        yield Cast(stack, tmp_path, redis_url)


@pytest.fixture
def service_port(cast: Cast) -> int:
    """The port of the service under test, so that a provider can be told of it first."""
    return cast.port


@pytest.fixture
def start_provider(cast: Cast) -> Callable[..., DevProvider]:
    """A function that starts a dev provider for the service under test."""
    return cast.provider


@pytest.fixture
def dev_provider(cast: Cast) -> DevProvider:
    """A dev provider that knows the service under test."""
    return cast.provider()


@pytest.fixture
def demo_api(cast: Cast, dev_provider: DevProvider) -> str:
    """The address of a demo API that believes the dev provider."""
    return cast.api(dev_provider)


@pytest.fixture
def run_service(cast: Cast) -> RunService:
    """A function that starts the service and waits until it is ready."""
    return cast.service
