"""The few verbs by which Redis is used, and the one error that stands for no answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

import pytest

from bff.errors import Code, StoreUnavailableError
from bff.sessions.redis import Call, Redis, Script, connect
from tests.support.processes import free_port
from tests.support.stopwatch import Stopwatch


async def test_a_value_is_put_and_got(redis: Redis) -> None:
    """With a time to live in seconds, to the millisecond; nothing where there is nothing."""
    assert await redis.get("x") is None
    await redis.put("x", b"\x00\xff", 1.5)
    assert await redis.get("x") == b"\x00\xff"
    assert 1000 < await redis.client.pttl("x") <= 1500
    await redis.put("x", b"short", 0.02)
    await asyncio.sleep(0.05)
    assert await redis.get("x") is None


async def test_no_time_is_a_millisecond(redis: Redis) -> None:
    """A time to live is never nought, which Redis would refuse."""
    for seconds in (0.0, -5.0, 0.0001):
        await redis.put("x", b"1", seconds)


async def test_a_value_is_taken_once(redis: Redis) -> None:
    """One of many gets it."""
    await redis.put("x", b"1", 10)
    results = await asyncio.gather(*(redis.take("x") for _ in range(20)))
    assert (results.count(b"1"), results.count(None)) == (1, 19)


async def test_a_swap_tells_what_was_there(redis: Redis) -> None:
    """Each gets the value of the one before."""
    assert await redis.swap("x", b"1", 10) is None
    assert await redis.swap("x", b"2", 10) == b"1"
    assert await redis.get("x") == b"2"
    assert 9000 < await redis.client.pttl("x") <= 10_000


async def test_a_script_is_run(redis: Redis) -> None:
    """With keys and arguments, also after the server has forgotten it."""
    script = Script("return {KEYS[1], ARGV[1], ARGV[2] + 1}")
    assert await redis.run(script, ["k"], [b"\xff", 41]) == [b"k", b"\xff", 42]
    await redis.client.script_flush()
    assert await redis.run(script, ["k"], ["text", 1]) == [b"k", b"text", 2]


async def test_scripts_are_run_in_their_order(redis: Redis) -> None:
    """Step by step, with the answers of each, also after the server has forgotten them."""
    add = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
    read = Script("return redis.call('LRANGE', KEYS[1], 0, -1)")
    steps = [
        [Call(add, ["one"], [b"a"]), Call(add, ["other"], [b"b"])],
        [Call(add, ["one"], [b"c"])],
        [],
        [Call(read, ["one"], []), Call(read, ["other"], [])],
    ]
    assert await redis.run_in_order(steps) == [[1, 1], [2], [], [[b"a", b"c"], [b"b"]]]
    await redis.client.script_flush()
    assert await redis.run_in_order(steps, lasting=True) == [
        [3, 2], [4], [], [[b"a", b"c", b"a", b"c"], [b"b", b"b"]],
    ]  # fmt: skip
    await redis.client.script_flush()
    await redis.run(read, ["new"], [])
    late = [[Call(add, ["new"], [b"a"])], [Call(read, ["new"], [])]]
    assert await redis.run_in_order(late) == [[1], [[b"a"]]]
    with pytest.raises(StoreUnavailableError):
        await redis.run_in_order([[Call(add, ["one"], [])], [Call(read, ["one"], [])]])


async def test_fetches_of_one_moment_go_together(redis: Redis) -> None:
    """Many reads at once are one command, and each gets its own value."""
    for number in range(5):
        await redis.put(f"x{number}", b"%d" % number, 10)
    before = (await redis.client.info("commandstats")).get("cmdstat_mget", {}).get("calls", 0)
    names = [f"x{number % 6}" for number in range(100)]
    found = await asyncio.gather(*(redis.fetch(name) for name in names))
    assert found == [None if name == "x5" else name[1:].encode() for name in names]
    after = (await redis.client.info("commandstats"))["cmdstat_mget"]["calls"]
    assert after - before == 1


async def test_a_reader_that_leaves_takes_nothing_from_others(redis: Redis) -> None:
    """A fetch that is cancelled does not cancel that of its neighbours."""
    await redis.put("x", b"1", 10)
    tasks = [asyncio.create_task(redis.fetch("x")) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [b"1", b"1"]


async def test_ping(redis: Redis) -> None:
    """A Redis that answers is there."""
    await redis.ping()


async def ask_everything(redis: Redis) -> None:
    """Expect every verb to raise StoreUnavailableError, within two seconds each."""
    script = Script("return 1")
    for call in (
        redis.get("x"), redis.fetch("x"), redis.take("x"), redis.put("x", b"1", 1),
        redis.swap("x", b"1", 1), redis.run(script, ["x"], []), redis.ping(),
    ):  # fmt: skip
        watch = Stopwatch()
        with pytest.raises(StoreUnavailableError) as caught:
            await call
        assert watch.seconds() < 2
        assert caught.value.code is Code.STORE_UNAVAILABLE
        assert caught.value.status == 503


async def test_nobody_there() -> None:
    """A refused connection is told at once."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    watch = Stopwatch()
    await ask_everything(redis)
    assert watch.seconds() < 1
    await redis.aclose()


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """Run a server that gives one answer to everything, or none; give its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while await reader.read(4096):
                if answer is not None:
                    writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_loop_that_was_held_up_connects(redis_url: str) -> None:
    """A new connection is not given up because we looked late whether it was made."""
    redis = connect(redis_url)
    connecting = asyncio.create_task(redis.ping())
    for stand_still in [0.4] * 4:
        await asyncio.sleep(0)
        time.sleep(stand_still)
    await connecting
    await redis.aclose()


async def test_silence() -> None:
    """A server that accepts and says nothing is given up."""
    async with answering(None) as url:
        redis = connect(url)
        watch = Stopwatch()
        with pytest.raises(StoreUnavailableError):
            await redis.get("x")
        assert watch.seconds() < 2
        await redis.aclose()


@pytest.mark.parametrize(
    "answer", [b"-LOADING busy\r\n", b"-NOAUTH no\r\n", b"-READONLY no\r\n", b"nonsense\r\n"]
)
async def test_answers_that_are_none(answer: bytes) -> None:
    """A server that is loading, refuses us, is a replica, or is no Redis at all."""
    async with answering(answer) as url:
        redis = connect(url)
        await ask_everything(redis)
        await redis.aclose()


async def test_it_works_again_by_itself(redis: Redis, redis_url: str) -> None:
    """Connections that the server closed are replaced without anybody's help."""
    await redis.put("x", b"1", 60)
    operator = connect(redis_url)
    for _ in range(3):
        await operator.client.client_kill_filter(skipme=True)
        try:
            assert await redis.get("x") == b"1"
        except StoreUnavailableError:
            assert await redis.get("x") == b"1"
    await operator.aclose()


async def test_more_callers_than_connections(redis: Redis) -> None:
    """A crowd waits its turn."""
    await redis.put("x", b"1", 60)
    assert await asyncio.gather(*(redis.get("x") for _ in range(200))) == [b"1"] * 200


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://", "redis+sentinel://host:26379", "redis+sentinel:///service",
        "redis+cluster://", "redis+cluster://,,", "redis+cluster://host:port",
        "redis+sentinel://host:26379/service/x", "redis://host:port", "rediss+cluster://:99999",
        "redis+cluster://host/1", "redis+cluster://:7000", "redis://:secret@host:port",
        "redis+sentinel://:secret@host:port/service", "redis://:secret@host?socket_timeout=soon",
    ],
)  # fmt: skip
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r".") as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://:p%40ss@host:6379/2", "rediss://user:pass@host", "unix:///run/redis.sock",
     "redis+sentinel://:pass@one:26379,two/service/1", "redis+cluster://one:7000,two:7001",
     "rediss+cluster://user:pass@[::1]:7000"],
)  # fmt: skip
async def test_every_kind_of_url_is_understood(url: str) -> None:
    """Nothing is sent before it is needed, so nobody has to be there."""
    redis = connect(url)
    await redis.aclose()


@pytest.mark.parametrize("answer", [b"+FINE\r\n", b":5\r\n", b"*1\r\n$-1\r\n", b"$-1\r\n"])
async def test_who_waits_for_a_value_hears_of_nonsense(answer: bytes) -> None:
    """An answer to MGET that is no list of as many values is no answer."""
    asked: set[bytes] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(65_536):
                for name in re.findall(rb"\r\n(HELLO|CLIENT|MGET|PING)\r\n", data):
                    asked.add(name)
                    writer.write({b"MGET": answer, b"PING": b"+PONG\r\n"}.get(name, b"+OK\r\n"))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        redis = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(asyncio.gather(redis.fetch("x"), redis.fetch("y")), 5)
        await redis.aclose()
    assert b"MGET" in asked
