"""Headless Chromium and a running `bff demo`, once for all tests of this folder.

The browser reaches the service through a relay that keeps what it received (`relay.py`), under the
service's own address. Without Chromium, see `prerequisites.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.support.chromium import find_chromium
from tests.support.demo import Demo, start_demo
from tests.support.prerequisites import Prerequisite
from tests.support.relay import Relay
from tests.support.window import QUICKLY, Window

HERE = Path(__file__).parent
CHROMIUM = Prerequisite(HERE, find_chromium)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OpenWindow = Callable[[], Awaitable[Window]]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    CHROMIUM.require(config, items)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo. Ctrl-C at the end must leave nothing behind."""
    CHROMIUM.part()
    running = start_demo(tmp_path_factory.mktemp("data"))
    try:
        yield running
        assert running.interrupt() == 0, running.process.text()
        assert running.leftovers() == []
    finally:
        running.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def relay(demo: Demo) -> AsyncIterator[Relay]:
    """What stands between the browser and the service."""
    between = Relay(demo.addresses.port)
    await between.start()
    yield between
    await between.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(demo: Demo, relay: Relay) -> AsyncIterator[Browser]:
    """A browser with an empty profile, for which the service's address leads to the relay."""
    service = demo.url.removeprefix("http://")
    detour = f"--host-resolver-rules=MAP {service} 127.0.0.1:{relay.port}"
    expect.set_options(timeout=QUICKLY)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM.part(), headless=True, args=[*ARGUMENTS, detour]
        )
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_window(browser: Browser, demo: Demo) -> AsyncIterator[OpenWindow]:
    """A function that opens a window with its own cookies. None of them may have complained."""
    opened: list[Window] = []

    async def begin() -> Window:
        opened.append(await Window.open(demo, await browser.new_context()))
        return opened[-1]

    yield begin
    for window in opened:
        await window.context.close()
    assert [complaint for window in opened for complaint in window.complaints] == []


@pytest_asyncio.fixture(loop_scope="session")
async def window(open_window: OpenWindow) -> Window:
    """A window in which nobody is signed in yet."""
    return await open_window()
