"""Free ports of loopback, for whoever is started a moment later and listens there.

A port must stay free between the moment when it is found and the one when it is taken. So each
process of a test run has a range of its own, in which none is given out again before all others
were; and the ranges lie below those from which systems choose ports for outgoing connections.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, NUMBER = 11_000, 10_000
CLUSTER_BUS = 10_000  # above the port of a node of a Redis Cluster


def own(environment: dict[str, str]) -> range:
    """Return the range of the process that has this environment (pytest-xdist names workers)."""
    processes = int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = NUMBER // processes
    first = FIRST + number % processes * each  # one that replaces a crashed one is counted on
    return range(first, first + each)


def take() -> int:
    """Return a port that nobody listens on, nor on that of its cluster bus."""
    while True:
        port = next(_ports())
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for one in (port, port + CLUSTER_BUS):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", one))
            return port


@cache
def _ports() -> Iterator[int]:
    ports = own(dict(os.environ))
    start = random.randrange(len(ports))  # another test run may be at it too
    return cycle([*ports[start:], *ports[:start]])
