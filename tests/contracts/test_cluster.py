"""Redis Cluster: one node's troubles are not the others'."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from signal import SIGCONT, SIGSTOP

import pytest
from redis.crc import key_slot

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.redis import connect
from bff.sessions.session import Session
from tests.support.redis_forms import SLOTS, Form, await_cluster
from tests.support.redis_server import Server
from tests.support.stopwatch import Stopwatch
from tests.support.store_worker import Worker, worker

NODE_SLOTS = SLOTS // 3
PROMPTLY = 0.5


@pytest.fixture
def cluster(forms: dict[str, Form]) -> Form:
    """Three masters that have found together again, whatever happened before."""
    await_cluster(forms["cluster"].servers)
    return forms["cluster"]


@pytest.fixture
def frozen(cluster: Form) -> Iterator[Server]:
    """The first master, which goes on after the test."""
    yield cluster.servers[0]
    cluster.servers[0].send(SIGCONT)


def at_first(session: Session) -> bool:
    """Whether the first master has this session."""
    return key_slot(names.record(session.key).encode()) < NODE_SLOTS


async def signed_in(at: Worker) -> tuple[list[Session], list[Session]]:
    """Return sessions on the first master, and on the others."""
    made = [await at.sign_in(secrets.token_hex()) for _ in range(30)]
    return [one for one in made if at_first(one)], [one for one in made if not at_first(one)]


async def load(at: Worker, session: Session) -> float:
    """Load a session that is there; return how long it took."""
    watch = Stopwatch()
    assert await at.store.reload(session.key) == session
    return watch.seconds()


async def test_a_frozen_node_holds_up_nobody_elses_sessions(cluster: Form, frozen: Server) -> None:
    """Loaded in one turn with those of others: its own are 503, theirs are there at once.

    A worker that comes now finds its way too.
    """
    async with worker(cluster.url, listen=False) as at, worker(cluster.url, listen=False) as new:
        here, there = await signed_in(at)
        frozen.send(SIGSTOP)
        loads = [asyncio.create_task(load(at, session)) for session in (*here, *there)]
        results = await asyncio.gather(*loads, return_exceptions=True)
        assert {type(result) for result in results[: len(here)]} == {StoreUnavailableError}
        took = [result for result in results[len(here) :] if isinstance(result, float)]
        assert len(took) == len(there)
        assert max(took) < PROMPTLY
        assert await load(new, there[0]) < 1.5
        frozen.send(SIGCONT)
        async with asyncio.timeout(10):
            for session in here:
                while True:
                    try:
                        await load(at, session)
                        break
                    except StoreUnavailableError:
                        await asyncio.sleep(0.02)


async def test_ready_means_that_the_cluster_works(cluster: Form) -> None:
    """A node that answers is not enough: it must say that all slots are served."""
    redis = connect(cluster.url)
    await redis.ping()
    first, second = cluster.servers[:2]
    slot = NODE_SLOTS - 1
    for server in cluster.servers:
        server.ask("CLUSTER", "DELSLOTS", slot)
    try:
        async with asyncio.timeout(5):
            while True:
                try:
                    await redis.ping()
                except StoreUnavailableError:
                    break
                await asyncio.sleep(0.05)
    finally:
        first.ask("CLUSTER", "ADDSLOTS", slot)
        async with asyncio.timeout(10):
            while b"cluster_state:ok" not in second.ask("CLUSTER", "INFO"):
                await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        while True:
            try:
                await redis.ping()
                break
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
    await redis.aclose()


async def test_any_node_is_a_way_in(cluster: Form) -> None:
    """One of the addresses in the URL that answers is enough."""
    port = cluster.servers[1].port
    url = f"redis+cluster://127.0.0.1:1,localhost:{port},127.0.0.1:2"
    async with worker(url) as at:
        sessions = [await at.sign_in(secrets.token_hex()) for _ in range(10)]
        assert await at.store.load_many([one.key for one in sessions]) == sessions
        await at.listening()


async def test_without_a_cluster_it_is_unavailable() -> None:
    """Nobody answers, or somebody who is no cluster: 503, at once."""
    redis = connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    for call in (redis.get("k"), redis.fetch("k"), redis.ping(), redis.listener(),
                 redis.put("k", b"v", 1), redis.info("memory")):  # fmt: skip
        with pytest.raises(StoreUnavailableError):
            await call
    await redis.aclose()


async def test_a_server_that_is_no_cluster_is_unavailable(forms: dict[str, Form]) -> None:
    """A mistaken URL does not work half."""
    redis = connect(f"redis+cluster://127.0.0.1:{forms['tcp'].servers[0].port}")
    for call in (redis.get("k"), redis.ping()):
        with pytest.raises(StoreUnavailableError):
            await call
    await redis.aclose()
