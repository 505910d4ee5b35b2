from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.demo.api import create_api
from tests.unit.demo.driver import (
    AUDIENCE,
    Driver,
    listen,
    make_config,
    make_driver,
    origin,
    served,
)


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    """A browser at a provider, without sockets and with a clock of ours."""
    driver = make_driver()
    async with driver.http:
        yield driver


class BackChannel:
    """A client's back-channel endpoint over a real socket; keeps what it is sent."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.status = 200
        self.uri = ""

    async def receive(self, request: Request) -> Response:
        self.tokens += parse_qs((await request.body()).decode())["logout_token"]
        return Response(status_code=self.status)


@pytest.fixture
async def backchannel() -> AsyncIterator[BackChannel]:
    channel = BackChannel()
    app = Starlette(routes=[Route("/logout", channel.receive, methods=["POST"])])
    async with served(app, listen()) as at:
        channel.uri = f"{at}/logout"
        yield channel


@pytest.fixture
async def heard(backchannel: BackChannel) -> AsyncIterator[Driver]:
    """A browser at a provider whose clients have a back channel."""
    driver = make_driver(make_config(backchannel=backchannel.uri))
    async with driver.http:
        yield driver


class Demo:
    """The dev provider over a real socket, and the demo API that believes it."""

    def __init__(self, driver: Driver, api: Starlette) -> None:
        self.driver = driver
        self.api = api


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    listener = listen()
    driver = make_driver(make_config(origin(listener)))
    async with served(driver.app, listener), driver.http:
        yield Demo(driver, create_api(driver.issuer, AUDIENCE, clock=driver.clock))
