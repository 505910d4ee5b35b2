"""Tokens for further audiences at the dev provider: by `resource` (RFC 8707), or exchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from tests.unit.demo.driver import Driver, landed, make_config, make_driver

ORDERS, STOCK = "https://orders.example", "https://stock.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    """A browser at a provider that knows two further audiences."""
    driver = make_driver(replace(make_config(), resources=(ORDERS, STOCK)))
    async with driver.http:
        yield driver


async def test_a_refresh_may_name_a_resource(driver: Driver) -> None:
    """The access token is for that one, and the refresh token rotates as ever."""
    tokens = await driver.sign_in()
    first = (await driver.refresh(tokens["refresh_token"], resource=ORDERS)).json()
    assert (await driver.verified(first["access_token"])).claims["aud"] == ORDERS
    assert first["refresh_token"] != tokens["refresh_token"]
    second = (await driver.refresh(first["refresh_token"], resource=STOCK)).json()
    assert (await driver.verified(second["access_token"])).claims["aud"] == STOCK


async def test_a_resource_that_is_not_known_uses_nothing_up(driver: Driver) -> None:
    """`invalid_target`, and the refresh token is still good."""
    tokens = await driver.sign_in()
    answer = await driver.refresh(tokens["refresh_token"], resource="https://other.example")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert (await driver.refresh(tokens["refresh_token"])).status_code == 200


async def test_several_resources_may_be_named_at_the_sign_in(driver: Driver) -> None:
    """The one parameter that may come more than once; one that is not known is refused."""
    query = urlencode([*driver.request().items(), ("resource", ORDERS), ("resource", STOCK)])
    assert (await driver.http.get(f"/authorize?{query}")).status_code == 200
    answer = await driver.http.get(f"/authorize?{query}&resource=https://other.example")
    assert landed(answer)["error"] == "invalid_target"


async def test_an_access_token_is_exchanged(driver: Driver) -> None:
    """For another audience, with fewer scopes, about the same user."""
    tokens = await driver.sign_in()
    answer = await driver.token(
        grant_type=EXCHANGE,
        subject_token=tokens["access_token"],
        subject_token_type=ACCESS,
        audience=ORDERS,
        scope="orders:read",
    )
    body = answer.json()
    assert (body["issued_token_type"], body["scope"]) == (ACCESS, "orders:read")
    assert "refresh_token" not in body
    claims = (await driver.verified(body["access_token"])).claims
    assert (claims["aud"], claims["sub"], claims["scope"]) == (ORDERS, "alice", "orders:read")
    assert (await driver.counters())["token_requests.token-exchange"] == 1


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"audience": "https://other.example"}, "invalid_target"),
        ({"audience": ORDERS, "resource": STOCK}, "invalid_target"),
        ({"audience": ORDERS, "scope": "more"}, "invalid_scope"),
        ({"audience": ORDERS, "subject_token": "x"}, "invalid_request"),
        ({"audience": ORDERS, "subject_token": None}, "invalid_request"),
        ({"audience": ORDERS, "subject_token_type": "urn:x"}, "invalid_request"),
        ({"audience": ORDERS, "requested_token_type": "urn:x"}, "invalid_request"),
    ],
)
async def test_what_is_not_exchanged(
    driver: Driver, form: dict[str, str | None], error: str
) -> None:
    """Each with the error of its specification."""
    tokens = await driver.sign_in()
    asked: dict[str, str | None] = {
        "grant_type": EXCHANGE,
        "subject_token": tokens["access_token"],
        "subject_token_type": ACCESS,
        **form,
    }
    answer = await driver.token(**asked)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_token_past_its_time_is_not_exchanged(driver: Driver) -> None:
    """The subject of an exchange must be alive."""
    tokens = await driver.sign_in()
    driver.clock.now += 301
    answer = await driver.token(
        grant_type=EXCHANGE,
        subject_token=tokens["access_token"],
        subject_token_type=ACCESS,
        audience=ORDERS,
    )
    assert answer.json()["error"] == "invalid_request"
