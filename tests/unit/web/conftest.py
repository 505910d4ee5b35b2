"""A real Redis for what counts in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bff.sessions.redis import Redis, connect


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Our connection to an empty Redis."""
    redis = connect(redis_url)
    yield redis
    await redis.aclose()
