"""One server: many commands at once, replicas that are waited for, a master that is one no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis as Client
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.errors import StoreUnavailableError
from bff.sessions import redis_node
from bff.sessions.redis import Redis, Script, connect
from bff.sessions.redis_links import Links
from bff.sessions.redis_node import ASK_AGAIN_AFTER, CONNECTIONS, REPLICA_PATIENCE, Node
from bff.sessions.redis_sentinel import Sentinels
from tests.support.redis_server import Server, free_ports, wait_until
from tests.support.stopwatch import Stopwatch

PUT = Script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A master and its replica."""
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        ports = free_ports(2)
        servers = [
            Server(folder, port, ["repl-diskless-sync-delay 0", *more])
            for port, more in zip(ports, ([], [f"replicaof 127.0.0.1 {ports[0]}"]), strict=True)
        ]
        for server in servers:
            stack.callback(server.stop)
            server.wait()
        linked(servers[1], servers[0])
        yield servers[0], servers[1]


def linked(replica: Server, master: Server) -> None:
    """Wait until a replica follows its master, and the master knows of it."""
    wait_until(lambda: replica.ask("ROLE")[3] == b"connected", "the replica's link")
    wait_until(lambda: bool(master.ask("ROLE")[2]), "the master's word of its replica")


@pytest.fixture
async def at(pair: tuple[Server, Server]) -> AsyncIterator[Redis]:
    """The master, as one that may fail over."""
    found = connect(f"redis://127.0.0.1:{pair[0].port}/0")
    found._nodes._replicated = True  # type: ignore[attr-defined]  # as with Sentinel
    yield found
    await found.aclose()


def links(at: Redis) -> Links:
    """Return the links to the one server."""
    found: Links = at._nodes._links  # type: ignore[attr-defined]
    return found


async def test_a_lasting_write_is_at_the_replica(
    at: Redis, pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it returns, a replica that answers in time has it; one at a time or many together."""
    monkeypatch.setattr(redis_node, "REPLICA_PATIENCE", 10)
    monkeypatch.setattr(redis_node, "TIMEOUT", 20)
    monkeypatch.setattr(redis_node, "PATIENCE", 30)
    for number in range(50):
        await at.run(PUT, ["k"], [str(number)], lasting=True)
        assert pair[1].ask("GET", "k") == str(number).encode()
    calls = [([f"k{number}"], ["v"]) for number in range(200)]
    assert await at.run_all(PUT, calls, lasting=True) == [b"OK"] * 200
    assert pair[1].ask("GET", "k199") == b"v"


async def test_a_slow_replica_is_not_waited_for_long(
    at: Redis, pair: tuple[Server, Server]
) -> None:
    """The write stands; the log says that it is not replicated."""
    await at.run(PUT, ["k"], ["before"], lasting=True)
    pair[1].send(SIGSTOP)
    try:
        with structlog.testing.capture_logs() as logs:
            began, watch = time.monotonic(), Stopwatch()
            await at.run(PUT, ["k"], ["after"], lasting=True)
            assert watch.seconds() < 1
            took = time.monotonic() - began
    finally:
        pair[1].send(SIGCONT)
        linked(pair[1], pair[0])
    assert took > REPLICA_PATIENCE * 0.9
    assert [line["event"] for line in logs] == ["redis.not_replicated"]
    assert await at.get("k") == b"after"


async def test_without_a_replica_nothing_is_waited_for(redis_url: str) -> None:
    """The log says so once, however often it is asked."""
    alone = connect(redis_url)
    node: Any = alone._nodes
    node._replicated = True
    with structlog.testing.capture_logs() as logs:
        watch = Stopwatch()
        for _ in range(3):
            await alone.run(PUT, ["k"], ["v"], lasting=True)
            node._ask_again_at -= ASK_AGAIN_AFTER
        assert watch.seconds() < REPLICA_PATIENCE
    assert [line["event"] for line in logs] == ["redis.no_replica"]
    await alone.aclose()


async def test_a_thousand_commands_at_once_are_all_answered(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there may be connections: they wait for their turn."""
    monkeypatch.setattr(redis_node, "PATIENCE", 60)
    at = connect(redis_url)
    await asyncio.gather(*(at.put(f"k{number}", b"v", 60) for number in range(1000)))
    found = await asyncio.gather(*(at.get(f"k{number}") for number in range(1000)))
    assert found == [b"v"] * 1000
    idle, opened = links(at).numbers
    assert 0 < idle == opened <= CONNECTIONS
    await at.aclose()


async def test_a_script_that_a_server_forgot_is_sent_again(redis_url: str) -> None:
    """After a failover or a restart: one at a time or many together."""
    at = connect(redis_url)
    for _ in range(2):
        assert await at.run(PUT, ["k"], ["v"]) == b"OK"
        await at.client.script_flush()
        calls = [([f"k{number}"], ["v"]) for number in range(3)]
        assert await at.run_all(PUT, calls) == [b"OK"] * 3
        await at.client.script_flush()
    assert await at.run_all(PUT, []) == []
    await at.aclose()


async def test_a_master_that_was_demoted_is_left(at: Redis, pair: tuple[Server, Server]) -> None:
    """Writes are refused as unavailable, and no connection to it is kept for later."""
    await asyncio.gather(*(at.put(f"k{number}", b"v", 60) for number in range(5)))
    assert links(at).numbers[1]
    pair[0].ask("REPLICAOF", "127.0.0.1", pair[1].port)
    try:
        for write in (at.put("k", b"v", 60), at.run(PUT, ["k"], ["v"])):
            with pytest.raises(StoreUnavailableError):
                await write
        with pytest.raises(StoreUnavailableError):
            await at.run_all(PUT, [(["k"], ["v"]), (["l"], ["v"])])
        assert links(at).numbers[0] == 0
    finally:
        pair[0].ask("REPLICAOF", "NO", "ONE")
        linked(pair[1], pair[0])
    await at.put("k", b"v", 60)


async def test_one_error_of_many_is_an_error(redis_url: str) -> None:
    """Commands that go together fail together, as far as we are told."""
    at = connect(redis_url)
    await at.client.lpush("list", "x")
    get = Script("return redis.call('GET', KEYS[1])")
    with pytest.raises(StoreUnavailableError):
        await at.run_all(get, [(["k"], []), (["list"], [])])
    await at.client.delete("list")
    await at.aclose()


class OneSentinel:
    """A Sentinel that takes its time."""

    def __init__(self, pause: float, *, up: bool = True, master: bool = True) -> None:
        self.pause = pause
        self.up = up
        self.master = master
        self.asked = 0

    async def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(self.pause)
        if not self.up:
            raise RedisConnectionError
        state = {"is_master": True, "is_sdown": not self.master, "is_odown": False,
                 "num-other-sentinels": 2, "ip": "10.0.0.1", "port": 6379}  # fmt: skip
        return {"main": state}


async def test_no_sentinel_is_forgotten() -> None:
    """However many ask at once while some are down: all stay known, a good one comes first."""
    some = [OneSentinel(0.002, up=False), OneSentinel(0.001, master=False), OneSentinel(0.001)]
    found = Sentinels([])
    found.sentinels = list(some)
    addresses = await asyncio.gather(*(found.discover_master("main") for _ in range(20)))
    assert set(addresses) == {("10.0.0.1", 6379)}
    some[0].up = some[1].master = True
    some[2].up = False
    await asyncio.gather(*(found.discover_master("main") for _ in range(20)))
    assert sorted(map(id, found.sentinels)) == sorted(map(id, some))
    assert found.sentinels[0].up
    with pytest.raises(MasterNotFoundError):
        await found.discover_master("other")


async def test_a_pool_may_be_smaller(redis_url: str) -> None:
    """`max_connections` in the URL: commands wait for their turn, none is refused."""
    at = connect(f"{redis_url}?max_connections=10")
    await asyncio.gather(*(at.put(f"k{number}", b"v", 60) for number in range(100)))
    await at.aclose()


async def test_a_node_closes_what_it_opened(tmp_path: Path) -> None:
    """Nothing stays open after a failure and the end."""
    port = free_ports(1)[0]
    server = Server(tmp_path, port)
    server.wait()
    node = Node(Client.from_url(f"redis://127.0.0.1:{port}", max_connections=72))
    await asyncio.gather(*(node.ask(("PING",)) for _ in range(10)))
    server.stop()
    with pytest.raises((RedisConnectionError, OSError)):
        await node.ask(("PING",))
    await node.aclose()
