from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from bff.demo.api import create_api
from tests.unit.demo.conftest import Demo
from tests.unit.demo.driver import AUDIENCE, Driver, listen, served

LOGIN = ["/api/me", "/api/orders", "/api/admin/stats", "/api/stream", "/api/slow?seconds=0"]


def client(demo: Demo) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=demo.api)
    return httpx2.AsyncClient(transport=transport, base_url=AUDIENCE)


async def bearer(driver: Driver, user: str) -> dict[str, str]:
    tokens = await driver.sign_in(user, prompt="login")
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@pytest.mark.parametrize(
    ("user", "me", "orders", "stats"),
    [("alice", 200, 200, 200), ("bob", 200, 200, 403), ("carol", 200, 403, 403)],
)
async def test_who_may_do_what(demo: Demo, user: str, me: int, orders: int, stats: int) -> None:
    """A login, a scope and a role each open their endpoint, and nothing else does."""
    headers = await bearer(demo.driver, user)
    async with client(demo) as http:
        for path, expected in (
            ("/api/me", me),
            ("/api/orders", orders),
            ("/api/admin/stats", stats),
        ):
            assert (await http.get(path, headers=headers)).status_code == expected


async def test_me_tells_who_calls(demo: Demo) -> None:
    """The API repeats what the token says, and nobody may store it."""
    headers = await bearer(demo.driver, "alice")
    async with client(demo) as http:
        answer = await http.get("/api/me", headers=headers)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "sub": "alice", "client_id": "app:1", "roles": ["admin", "user"],
        "scopes": ["email", "offline_access", "openid", "orders:read", "profile"],
    }  # fmt: skip


async def test_a_client_may_call_for_itself(demo: Demo) -> None:
    """A client-credentials token opens what its scope opens."""
    token = (await demo.driver.token(grant_type="client_credentials")).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with client(demo) as http:
        assert (await http.get("/api/me", headers=headers)).json()["sub"] == "app:1"
        assert (await http.get("/api/orders", headers=headers)).status_code == 200
        assert (await http.get("/api/admin/stats", headers=headers)).status_code == 403


async def test_the_sums_are_right(demo: Demo) -> None:
    """The statistics are those of the orders."""
    headers = await bearer(demo.driver, "alice")
    async with client(demo) as http:
        orders = (await http.get("/api/orders", headers=headers)).json()["orders"]
        stats = (await http.get("/api/admin/stats", headers=headers)).json()
    assert stats["orders"] == len(orders) == sum(stats["by_status"].values())
    cents = sum(round(float(order["total"]["amount"]) * 100) for order in orders)
    assert stats["revenue"] == f"{cents / 100:.2f}"


@pytest.mark.parametrize("path", LOGIN)
async def test_without_a_token_there_is_nothing(demo: Demo, path: str) -> None:
    """Every endpoint but the public one asks for a token, in problem details."""
    async with client(demo) as http:
        answer = await http.get(path)
        assert (await http.get("/api/public")).status_code == 200
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("authorization", ["Basic x", "Bearer", "Bearer x", "bearer a.b.c", "x"])
async def test_a_bad_token_is_refused(demo: Demo, authorization: str) -> None:
    """What is no token of the issuer is 401."""
    async with client(demo) as http:
        answer = await http.get("/api/me", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_expired_token_is_invalid(demo: Demo) -> None:
    """After its lifetime a token is invalid_token, in the words that a client refreshes on."""
    headers = await bearer(demo.driver, "alice")
    demo.driver.clock.now += 305
    async with client(demo) as http:
        answer = await http.get("/api/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_an_id_token_is_no_access_token(demo: Demo) -> None:
    """Another token of the same issuer does not open the API."""
    token = (await demo.driver.sign_in())["id_token"]
    async with client(demo) as http:
        answer = await http.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_a_token_for_another_api_is_refused(demo: Demo) -> None:
    """The audience counts."""
    headers = await bearer(demo.driver, "alice")
    other = create_api(demo.driver.issuer, "http://127.0.0.1:1", clock=demo.driver.clock)
    transport = httpx2.ASGITransport(app=other)
    async with httpx2.AsyncClient(transport=transport, base_url=AUDIENCE) as http:
        assert (await http.get("/api/me", headers=headers)).status_code == 401


async def test_two_tokens_are_none(demo: Demo) -> None:
    """Which of two Authorization headers is meant is not guessed."""
    value = (await bearer(demo.driver, "alice"))["Authorization"]
    async with client(demo) as http:
        pairs = [("Authorization", value), ("Authorization", value)]
        assert (await http.get("/api/me", headers=pairs)).status_code == 401


async def test_a_missing_scope_is_named(demo: Demo) -> None:
    """The refusal says which scope is needed (RFC 6750 section 3.1)."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        answer = await http.get("/api/orders", headers=headers)
    expected = 'Bearer error="insufficient_scope", scope="orders:read"'
    assert answer.headers["www-authenticate"] == expected
    assert answer.json()["code"] == "insufficient_scope"


async def test_a_key_rotation_is_followed(demo: Demo) -> None:
    """Tokens of a new key are believed at once, and those of the old one still."""
    old = await bearer(demo.driver, "alice")
    async with client(demo) as http:
        assert (await http.get("/api/me", headers=old)).status_code == 200
        await demo.driver.http.post("/dev/rotate-keys")
        new = await bearer(demo.driver, "alice")
        assert (await http.get("/api/me", headers=new)).status_code == 200
        assert (await http.get("/api/me", headers=old)).status_code == 200


async def test_an_issuer_that_is_away_is_503(demo: Demo) -> None:
    """Without keys the fault is not the caller's."""
    headers = await bearer(demo.driver, "alice")
    api = create_api("http://127.0.0.1:1", AUDIENCE)
    transport = httpx2.ASGITransport(app=api)
    async with httpx2.AsyncClient(transport=transport, base_url=AUDIENCE) as http:
        answer = await http.get("/api/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")


@pytest.mark.parametrize("value", [None, 1, "é😀", [1, {"a": None}], {"a": "<b>"}])
async def test_echo_sends_json_back(demo: Demo, value: object) -> None:
    """What comes is what goes."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        answer = await http.post("/api/echo", content=json.dumps(value), headers=headers)
    assert answer.json() == {"echo": value}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"NaN", b"1e999", b'"\\ud800"', b"[" * 100_000, b"1" * 5000]
)
async def test_echo_refuses_what_is_no_json(demo: Demo, body: bytes) -> None:
    """A body that is no JSON, or cannot be said in JSON again, is a bad request."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        answer = await http.post("/api/echo", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_echo_has_a_limit(demo: Demo) -> None:
    """More than a MiB is too large."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        answer = await http.post("/api/echo", content=b" " * (1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/api/slow?seconds=x", "/api/slow?seconds=-1", "/api/slow?seconds=121",
        "/api/slow?seconds=nan", "/api/slow?seconds=inf", "/api/stream?ticks=0",
        "/api/stream?ticks=31", "/api/stream?ticks=x", "/api/stream?ticks=%D9%A3",
    ],
)  # fmt: skip
async def test_numbers_are_checked(demo: Demo, path: str) -> None:
    """A number that is none, or out of range, is a bad request."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        assert (await http.get(path, headers=headers)).status_code == 400


async def test_slow_waits(demo: Demo) -> None:
    """The answer comes after the time that was asked for."""
    headers = await bearer(demo.driver, "carol")
    async with client(demo) as http:
        started = asyncio.get_running_loop().time()
        answer = await http.get("/api/slow?seconds=0.2", headers=headers)
        assert asyncio.get_running_loop().time() - started >= 0.19
    assert answer.json() == {"waited": 0.2}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/api/me", 405), ("GET", "/api/echo", 405)],
)
async def test_what_is_not_there_is_a_problem(
    demo: Demo, method: str, path: str, status: int
) -> None:
    """Unknown paths and methods are told in problem details as well."""
    async with client(demo) as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_stream_ticks(demo: Demo) -> None:
    """Events come one by one, a second apart, and the stream ends."""
    headers = await bearer(demo.driver, "bob")
    times: list[float] = []
    async with (
        served(demo.api, listen()) as at,
        httpx2.AsyncClient() as http,
        http.stream("GET", f"{at}/api/stream?ticks=2", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        data: list[object] = []
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                times.append(asyncio.get_running_loop().time())
                data.append(json.loads(line.removeprefix("data: ")))
    assert data == [{"tick": 1, "of": 2}, {"tick": 2, "of": 2}]
    assert 0.8 < times[1] - times[0] < 3


async def test_the_websocket_echoes(demo: Demo) -> None:
    """Text and bytes come back, and the first subprotocol offered is taken."""
    headers = await bearer(demo.driver, "bob")
    async with served(demo.api, listen()) as at:
        url = at.replace("http", "ws") + "/api/ws"
        async with connect(
            url, additional_headers=headers, subprotocols=[Subprotocol("chat")]
        ) as socket:
            assert socket.subprotocol == "chat"
            await socket.send("hé")
            assert await socket.recv() == "hé"
            await socket.send(b"\x00\xff")
            assert await socket.recv() == b"\x00\xff"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x.y.z"}])
async def test_the_websocket_needs_a_login(demo: Demo, headers: dict[str, str]) -> None:
    """The handshake is answered with 401 and a challenge."""
    async with served(demo.api, listen()) as at:
        url = at.replace("http", "ws") + "/api/ws"
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url, additional_headers=headers):
                pass
    assert caught.value.response.status_code == 401
    assert caught.value.response.headers["WWW-Authenticate"].startswith("Bearer")
