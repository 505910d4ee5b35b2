"""Ports for what tests start: of a process's own, and each given once."""

from __future__ import annotations

import socket

from tests.support import ports


def worker(number: int, count: int) -> range:
    """Return the ports of one of several workers."""
    return ports.own(
        {"PYTEST_XDIST_WORKER": f"gw{number}", "PYTEST_XDIST_WORKER_COUNT": str(count)}
    )


def test_no_two_workers_share_a_port() -> None:
    """Their ranges follow each other; a process that runs alone has all of them."""
    everything = ports.own({})
    assert len(everything) == ports.NUMBER
    mine = [port for number in range(3) for port in worker(number, 3)]
    assert mine == list(everything)[: len(mine)]
    assert worker(4, 3) == worker(1, 3)
    assert everything.stop + ports.CLUSTER_BUS < 32_768


def test_a_port_is_free_and_given_once() -> None:
    """Nobody listens there, and it does not come again soon."""
    taken = [ports.take() for _ in range(50)]
    assert len(set(taken)) == 50
    with socket.create_server(("127.0.0.1", taken[0])):
        assert ports.take() not in taken
