"""What a route may ask for beside its policy: several addresses, a circuit, named headers."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.open_proxy import PATIENCE, OpenProxy
from tests.support.raw_upstream import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_requests_take_turns_and_the_dead_is_left_out_and_comes_back(
    proxy: OpenProxy,
) -> None:
    """Not one request fails meanwhile, and the log has two lines of it."""
    async with proxy.upstream(answering(OK), 1) as first:
        async with proxy.upstream(answering(OK), 2) as second:
            for _ in range(6):
                assert (await proxy.ask("/several")).status == 200
            assert (len(first.requests), len(second.requests)) == (3, 3)
            for upstream in (first, second):
                assert b"\r\nhost: 127.0.0.1:%d\r\n" % upstream.port in upstream.requests[0]
        for _ in range(6):
            answer = await proxy.ask("/several", "Content-Length: 3", method="PUT", body=b"pay")
            assert answer.status == 200
        assert len(first.requests) == 9
        async with proxy.upstream(answering(OK), 2) as second:
            async with asyncio.timeout(PATIENCE):
                while not second.requests:
                    assert (await proxy.ask("/several")).status == 200
    address = f"127.0.0.1:{proxy.ports[2]}"
    lines = [line for line in proxy.service.log if line.get("address") == address]
    assert [line["event"] for line in lines] == ["upstream.ejected", "upstream.back"]
    assert (lines[0]["route"], lines[0]["level"], lines[0]["seconds"]) == (
        "/several", "warning", 1.0,
    )  # fmt: skip


async def test_a_websocket_goes_on_to_the_next_address(proxy: OpenProxy) -> None:
    """The same choice as for requests: nobody sees that an address is dead."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    url = proxy.base_url.replace("http", "ws", 1) + "/several"
    async with serve(echo, "127.0.0.1", proxy.ports[2]):
        for _ in range(3):
            async with connect(url, proxy=None) as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"


async def test_an_open_circuit_refuses_at_once_and_closes_by_an_answer(proxy: OpenProxy) -> None:
    """Two time-outs, then 502 without a wait; one request tries, and its answer lets all in."""
    awake = asyncio.Event()

    async def handle(peer: Peer) -> None:
        while True:
            await peer.head()
            if awake.is_set():
                await peer.say(OK)

    async with proxy.upstream(handle, 3) as upstream:
        for _ in range(2):
            assert (await proxy.ask("/circuit")).status == 504
        seen = len(upstream.requests)
        answers = [await proxy.ask("/circuit") for _ in range(3)]
        refused = [answer for answer in answers if answer.status == 502]
        assert len(upstream.requests) - seen == len(answers) - len(refused)
        assert refused
        for answer in refused:
            assert json.loads(answer.body)["code"] == "upstream_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        awake.set()
        async with asyncio.timeout(PATIENCE):
            while (await proxy.ask("/circuit")).status != 200:
                await asyncio.sleep(0.05)
        for _ in range(5):
            assert (await proxy.ask("/circuit")).status == 200
    lines = [line for line in proxy.service.log if line.get("route") == "/circuit"]
    changes = [line["event"] for line in lines if line["event"] != "upstream.failed"]
    assert changes == ["upstream.ejected", "upstream.back"]


async def test_named_headers_pass_and_no_others(proxy: OpenProxy) -> None:
    """Both ways, on the route that names them and on no other."""
    says = (
        b'HTTP/1.1 200 OK\r\nClear-Site-Data: "cache"\r\nService-Worker-Allowed: /\r\n'
        b"Content-Length: 0\r\n\r\n"
    )
    fields = ("X-User-Locale: de", "X-User-Id: evil", "X-User-Theme: dark", "X_User_Locale: evil")
    async with proxy.upstream(answering(says)) as upstream:
        named = await proxy.ask("/named", *fields)
        plain = await proxy.ask("/open", *fields)
        heads = [head.lower() for head in upstream.requests]
    assert [b"\r\nx-user-locale: de\r\n" in head for head in heads] == [True, False]
    assert not any(word in head for word in (b"evil", b"x-user-theme") for head in heads)
    assert named.headers["clear-site-data"] == '"cache"'
    assert "clear-site-data" not in plain.headers
    assert not any("service-worker-allowed" in answer.headers for answer in (named, plain))


@pytest.mark.parametrize(
    ("given", "kept"), [(["a-good-request-id"], True), (["bad id"], False), ([], False)]
)
async def test_the_request_id_is_the_same_everywhere(
    proxy: OpenProxy, given: list[str], kept: bool
) -> None:
    """Kept where it is valid, else made; upstream, answer, problem and log have the same one."""
    fields = [f"X-Request-Id: {value}" for value in given]
    async with proxy.upstream(answering(OK)) as upstream:
        answer = await proxy.ask("/open", *fields)
        [head] = upstream.requests
    sent = head.lower().partition(b"\r\nx-request-id: ")[2].split(b"\r\n")[0].decode()
    assert head.lower().count(b"x-request-id") == 1
    assert answer.headers["x-request-id"] == sent
    assert (sent in given) is kept
    assert 8 <= len(sent) <= 64
    failed = await proxy.ask("/open", *fields)
    problem = json.loads(failed.body)
    assert (failed.status, problem["request_id"]) == (502, failed.headers["x-request-id"])
    lines = [
        line["event"]
        for line in proxy.service.log
        if line.get("request_id") == problem["request_id"]
    ]
    assert lines[-2:] == ["upstream.failed", "request.refused"]
