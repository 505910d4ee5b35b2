"""Every form of Redis, running for the whole session, and workers on each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.prerequisites import left_out
from tests.support.redis_forms import HAS_TLS, NAMES, NO_TLS, Form, every_form
from tests.support.store_worker import Worker, empty, worker


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if not HAS_TLS:
        left_out(config, NO_TLS)


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Form]]:
    """Every form, by its name."""
    if not HAS_TLS and os.environ.get("CI"):
        pytest.fail(NO_TLS, pytrace=False)
    with every_form(tmp_path_factory.mktemp("forms")) as running:
        yield running


@pytest.fixture(params=NAMES)
def form(request: pytest.FixtureRequest, forms: dict[str, Form]) -> Form:
    """One form after the other."""
    return forms[request.param]


@pytest.fixture
async def one(form: Form) -> AsyncIterator[Worker]:
    """A worker on a Redis that is empty."""
    async with worker(form.url, listen=False) as opened:
        await empty(opened.redis)
        yield opened


@pytest.fixture
async def other(one: Worker, form: Form) -> AsyncIterator[Worker]:
    """Another worker on the same Redis."""
    async with worker(form.url, listen=False) as opened:
        yield opened
