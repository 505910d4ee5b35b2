"""The login rate limit: counted per client address, over all workers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.raw_http import RawAnswer, exchange, request
from tests.support.site import Site, open_site


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that takes three logins an hour, behind a proxy on this machine."""
    env = {"BFF_LOGIN_RATE_LIMIT": "3/hour", "BFF_TRUSTED_PROXIES": '["127.0.0.0/8", "10.0.0.0/8"]'}
    with open_site(tmp_path_factory.mktemp("limited"), env, workers=2) as site:
        yield site


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that takes three logins an hour and trusts no proxy."""
    with open_site(tmp_path_factory.mktemp("direct"), {"BFF_LOGIN_RATE_LIMIT": "3/hour"}) as site:
        yield site


async def login(site: Site, *fields: str) -> RawAnswer:
    """Ask for a login."""
    return await exchange(site.base_url, request("/bff/login", *fields))


async def statuses(site: Site, forwarded: str, times: int = 5) -> list[int]:
    """Ask for logins as one client of a proxy."""
    return [(await login(site, f"X-Forwarded-For: {forwarded}")).status for _ in range(times)]


async def test_too_many_logins_of_one_address_are_429(limited: Site) -> None:
    """Three pass, then 429 `rate_limited` with Retry-After; nobody else is held up."""
    assert await statuses(limited, "203.0.113.1") == [303, 303, 303, 429, 429]
    answer = await login(limited, "X-Forwarded-For: 203.0.113.1")
    assert json.loads(answer.body)["code"] == "rate_limited"
    assert 0 < int(answer.headers["retry-after"]) <= 3600
    assert "location" not in answer.headers
    page = await login(limited, "X-Forwarded-For: 203.0.113.1", "Sec-Fetch-Mode: navigate")
    assert page.headers["content-type"].startswith("text/html")
    assert await statuses(limited, "203.0.113.2", 1) == [303]
    answer = await exchange(
        limited.base_url, request("/bff/session", "X-Forwarded-For: 203.0.113.1")
    )
    assert answer.status == 200


async def test_only_what_trusted_proxies_wrote_counts(limited: Site) -> None:
    """A client that writes into X-Forwarded-For itself does not become somebody else."""
    forged = [f"198.51.100.{number}, 203.0.113.9" for number in range(4)]
    assert [(await statuses(limited, value, 1))[0] for value in forged] == [303, 303, 303, 429]
    through_two = "203.0.113.9, 10.1.2.3"
    assert await statuses(limited, through_two, 1) == [429]


async def test_without_trusted_proxies_the_field_means_nothing(direct: Site) -> None:
    """All requests of this machine count as one client's."""
    found = [(await statuses(direct, f"203.0.113.{number}", 1))[0] for number in range(5)]
    assert found == [303, 303, 303, 429, 429]
