from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.demo.api.keys import BURST, BURST_PERIOD, MAX_AGE, IssuerKeys, KeysUnavailableError
from bff.demo.api.tokens import InvalidTokenError
from tests.unit.demo.driver import Clock, listen, make_key, origin, served


class Issuer:
    """An issuer whose answers a test can spoil."""

    def __init__(self) -> None:
        self.at = ""
        self.kids = ["k1"]
        self.fetches = 0
        self.metadata: dict[str, object] = {}
        self.answer: Response | None = None

    async def discovery(self, request: Request) -> Response:
        base: dict[str, object] = {"issuer": self.at, "jwks_uri": f"{self.at}/jwks"}
        return JSONResponse(base | self.metadata)

    async def jwks(self, request: Request) -> Response:
        self.fetches += 1
        await asyncio.sleep(0.02)
        keys = [make_key(kid).as_dict(private=False) for kid in self.kids]
        return self.answer or JSONResponse({"keys": keys})


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    made, listener = Issuer(), listen()
    made.at = origin(listener)
    routes = [
        Route("/.well-known/openid-configuration", made.discovery),
        Route("/jwks", made.jwks),
    ]
    async with served(Starlette(routes=routes), listener):
        yield made


async def test_all_who_wait_share_one_fetch() -> None:
    """Many requests at once cost one fetch."""
    async with issuer() as made:
        keys = IssuerKeys(made.at, Clock())
        found = await asyncio.gather(*(keys.get("k1") for _ in range(20)))
        assert len({id(key) for key in found}) == 1
        assert made.fetches == 1


async def test_a_rotation_is_seen_at_once() -> None:
    """An unknown kid makes a fetch, also right after the first one; the old key stays."""
    async with issuer() as made:
        keys = IssuerKeys(made.at, Clock())
        await keys.get("k1")
        made.kids = ["k2", "k1"]
        await keys.get("k2")
        await keys.get("k1")
        assert made.fetches == 2


async def test_made_up_kids_cause_no_flood() -> None:
    """Fetches are limited, and known keys work meanwhile; later there may be more."""
    clock = Clock()
    async with issuer() as made:
        keys = IssuerKeys(made.at, clock)
        for number in range(50):
            with pytest.raises(InvalidTokenError, match="unknown_key"):
                await keys.get(f"made up {number}")
        assert made.fetches == BURST
        await keys.get("k1")
        clock.now += BURST_PERIOD
        made.kids = ["k2"]
        await keys.get("k2")


async def test_old_keys_are_fetched_again() -> None:
    """After a while a withdrawn key is not believed any more."""
    clock = Clock()
    async with issuer() as made:
        keys = IssuerKeys(made.at, clock)
        await keys.get("k1")
        made.kids = ["k2"]
        await keys.get("k1")
        clock.now += MAX_AGE
        with pytest.raises(InvalidTokenError):
            await keys.get("k1")


async def test_known_keys_outlast_an_issuer_that_is_away() -> None:
    """While nothing new can be had, what is known goes on."""
    clock = Clock()
    async with issuer() as made:
        keys = IssuerKeys(made.at, clock)
        await keys.get("k1")
    clock.now += MAX_AGE
    await keys.get("k1")


@pytest.mark.parametrize(
    ("metadata", "answer"),
    [
        ({"issuer": "http://127.0.0.1:1"}, None),
        ({"jwks_uri": None}, None),
        ({"jwks_uri": "http://["}, None),
        ({}, Response("not JSON")),
        ({}, Response("[" * 100_000)),
        ({}, JSONResponse([1])),
        ({}, JSONResponse({"keys": []})),
        ({}, Response(status_code=500)),
        ({}, Response(status_code=302, headers={"Location": "http://127.0.0.1:1/"})),
        ({}, Response("x" * 300_000)),
    ],
)
async def test_an_answer_that_is_not_right_gives_no_keys(
    metadata: dict[str, object], answer: Response | None
) -> None:
    """Another issuer's metadata, a redirect, or an answer that is no key set is not used."""
    async with issuer() as made:
        made.metadata, made.answer = metadata, answer
        with pytest.raises(KeysUnavailableError):
            await IssuerKeys(made.at, Clock()).get("k1")


async def test_an_issuer_that_is_away_gives_no_keys() -> None:
    """Without any key known, the fault is not the caller's."""
    with pytest.raises(KeysUnavailableError):
        await IssuerKeys("http://127.0.0.1:1", Clock()).get("k1")
