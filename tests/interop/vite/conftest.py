"""Vite, an application of its kind, and a Chromium that looks at it.

Where they cannot be had, see `prerequisites.py`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.chromium import find_chromium
from tests.support.node import Node, find_node, install
from tests.support.prerequisites import Prerequisite
from tests.support.processes import free_port
from tests.support.site import bff_serve, usual
from tests.support.vite import Application

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Service

HERE = Path(__file__).parent


class Parts(NamedTuple):
    """What these tests need."""

    node: Node
    packages: Path
    chromium: str


def get_parts() -> Parts:
    """Node, the folder with Vite, and Chromium's path. Raises MissingError."""
    node = find_node()
    return Parts(node, install(HERE, node), find_chromium())


PARTS = Prerequisite(HERE, get_parts)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    PARTS.require(config, items)


@pytest.fixture
def chromium() -> str:
    """The path of a Chromium."""
    return PARTS.part().chromium


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """The application's sources, for this test alone."""
    node, packages, _ = PARTS.part()
    return Application.copy(HERE / "app", packages, node, tmp_path / "app")


@pytest.fixture
def dev_service(application: Application, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """The service in front of the application's dev server."""
    with ExitStack() as stack:
        url = stack.enter_context(application.serve())
        yield stack.enter_context(serve_spa(tmp_path, redis_url, url))


@pytest.fixture
def built_service(application: Application, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """The service with the built application."""
    with serve_spa(tmp_path, redis_url, str(application.build())) as service:
        yield service


def serve_spa(folder: Path, redis_url: str, spa: str) -> AbstractContextManager[Service]:
    """Run the service with that BFF_SPA; nobody signs in, so its provider may be away."""
    port = free_port()
    env = {
        **usual(port, redis_url),
        "BFF_ISSUER": "http://127.0.0.1:1",
        "BFF_CLIENT_ID": "app",
        "BFF_CLIENT_SECRET": "none is asked",
        "BFF_SPA": spa,
    }
    return bff_serve(folder, port, env, wait="healthz")
