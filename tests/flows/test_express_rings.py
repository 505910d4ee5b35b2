"""What was carried the express way leaves nothing to the garbage collector."""

from __future__ import annotations

import gc

import pytest

from bff.express import Flight
from tests.support.redis_server import wait_until
from tests.support.two_ways import two_ways

REFUSED = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"a" * 400_000
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("answer", [PLAIN, REFUSED, LARGE], ids=["plain", "refused", "large"])
def test_a_request_that_is_over_is_forgotten_at_once(redis_process: str, answer: bytes) -> None:
    """Also one that has landed; a connection may still know the last that it carried."""
    with two_ways(redis_process, [PLAIN, answer]) as ways:
        assert ways.alike(ways.get(b"1")) == 1
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                ways.alike(ways.get(b"1"), times=1)
            wait_until(lambda: _flights() <= 2, "the flights are forgotten")
        finally:
            gc.enable()


def _flights() -> int:
    return sum(type(one) is Flight for one in gc.get_objects())
