"""The login rate limit: so many a client address, over all workers."""

from __future__ import annotations

import asyncio

import pytest

from bff.errors import Code, Problem, StoreUnavailableError
from bff.sessions.redis import Redis, connect
from bff.web.rate_limit import LoginRateLimit
from tests.support.processes import free_port


async def passed(limit: LoginRateLimit, client: str, times: int) -> int:
    """Return how many of so many logins at once pass."""
    results = await asyncio.gather(
        *(limit.check(client) for _ in range(times)), return_exceptions=True
    )
    for result in results:
        assert result is None or isinstance(result, Problem)
    return results.count(None)


async def test_so_many_pass_and_no_more(redis: Redis) -> None:
    """The next one is refused with the contract's code, and told when to come again."""
    limit = LoginRateLimit(redis, "5/minute")
    assert await passed(limit, "192.0.2.7", 30) == 5
    with pytest.raises(Problem) as caught:
        await limit.check("192.0.2.7")
    assert caught.value.code is Code.RATE_LIMITED
    assert caught.value.status == 429
    assert caught.value.headers == (("Retry-After", "60"),)


async def test_one_address_does_not_use_up_anothers(redis: Redis) -> None:
    """Each address counts by itself."""
    limit = LoginRateLimit(redis, "2/minute")
    assert await passed(limit, "192.0.2.7", 5) == 2
    for other in ("192.0.2.8", "2001:db8::7", "", "192.0.2.77"):
        assert await passed(limit, other, 5) == 2


async def test_all_workers_count_together(redis: Redis, redis_url: str) -> None:
    """Two workers allow no more than one."""
    other = connect(redis_url)
    first, second = LoginRateLimit(redis, "6/minute"), LoginRateLimit(other, "6/minute")
    found = await asyncio.gather(passed(first, "a", 10), passed(second, "a", 10))
    assert sum(found) == 6
    await other.aclose()


async def test_time_passes(redis: Redis) -> None:
    """After the window there is room again."""
    limit = LoginRateLimit(redis, "3/second")
    assert await passed(limit, "a", 10) == 3
    await asyncio.sleep(2.05)
    assert await passed(limit, "a", 10) == 3


async def test_an_empty_limit_is_none(redis: Redis) -> None:
    """Switched off, nothing is counted."""
    assert await passed(LoginRateLimit(redis, ""), "a", 200) == 200
    assert await redis.client.keys("*") == []


async def test_addresses_are_not_in_redis_in_clear(redis: Redis) -> None:
    """Keys hold a hash, and run out by themselves."""
    await LoginRateLimit(redis, "5/minute").check("192.0.2.7")
    names = await redis.client.keys("*")
    assert names
    for name in names:
        assert b"192.0.2.7" not in name
        assert 0 < await redis.client.ttl(name) <= 130


async def test_without_redis_it_says_so() -> None:
    """Whoever cannot be counted is told 503, not let in and not refused."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailableError):
        await LoginRateLimit(redis, "5/minute").check("a")
    await redis.aclose()
