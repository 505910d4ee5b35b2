"""The service is asked as Traefik and Envoy ask: what reaches it is written here byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fronts import PROGRAMS, front
from tests.support.processes import free_port
from tests.support.raw_http import RawAnswer, exchange, parse, request, said

from .conftest import KEY, Behind

HANDSHAKE = (
    "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
)  # fmt: skip


async def ask(behind: Behind, target: str, *fields: str, method: str = "GET") -> RawAnswer:
    """Ask with the key."""
    url = f"http://127.0.0.1:{behind.places.service}"
    return await exchange(url, request(target, f"X-Bff-Key: {KEY}", *fields, method=method))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/bff/auth/open/x", 200),
        ("/bff/auth/open/caf%C3%A9?x=%2f..&y", 200),
        ("/bff/auth/%6fpen/x", 200),
        ("/bff/auth/api/x", 401),
        ("/bff/auth/admin/%61?/open", 401),
        ("/bff/auth/", 401),
        ("/bff/auth", 401),
        ("/bff/auth/open/../admin", 400),
        ("/bff/auth/open/..%2fadmin", 400),
        ("/bff/auth/open/..;/admin", 400),
        ("/bff/auth//open", 400),
        ("/bff/auth/open/%zz", 400),
        ("/bff/%61uth/open", 404),
        ("/%62ff/auth/open", 404),
        ("/bff/authopen", 404),
    ],
)
async def test_envoy_puts_our_address_before_the_path(
    behind: Behind, target: str, status: int
) -> None:
    """Encoded letters are part of the path that is asked about, never of our own address."""
    for method in ("GET", "POST", "DELETE"):
        if method == "GET" or target != "/bff/auth":
            answer = await ask(behind, target, "Content-Length: 0", method=method)
            assert answer.status == status, method


@pytest.mark.parametrize(
    ("path", "status"),
    [("/open/x", 200), ("/api/x", 401), ("/admin/x?/open", 401), ("/open/..%2fadmin", 400)],
)
async def test_traefik_tells_path_and_method(behind: Behind, path: str, status: int) -> None:
    """In its own fields; those of others beside them are refused."""
    fields = (f"X-Forwarded-Uri: {path}", "X-Forwarded-Method: POST", "X-Forwarded-Proto: https")
    assert (await ask(behind, "/bff/auth", *fields)).status == status
    answer = await ask(behind, "/bff/auth", *fields, "X-Original-URI: /open/x")
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "bad_request")


async def test_a_question_is_never_a_websocket(behind: Behind) -> None:
    """A proxy that passes the handshake on is told so."""
    url = f"http://127.0.0.1:{behind.places.service}"
    for target in ("/bff/auth", "/bff/auth/open/x"):
        sent = request(target, f"X-Bff-Key: {KEY}", *HANDSHAKE)
        sent = sent.replace(b"Connection: close", b"Connection: Upgrade")
        assert (await exchange(url, sent)).status == 404


@pytest.mark.parametrize("program", PROGRAMS)
async def test_no_answer_is_no_permission(behind: Behind, program: str, tmp_path: Path) -> None:
    """Where the service cannot be asked, nobody passes, and the browser is told that it is away."""
    places = replace(behind.places, port=free_port(), service=free_port())
    before = len(behind.upstream.requests)
    with front(program, "forward-auth", places, tmp_path) as tls:
        for target in ("/api/x", "/open/x"):
            sent = request(target, host=f"localhost:{places.port}")
            answer = parse(await said(places.origin, sent, tls=tls))
            assert answer.status == 502
    assert len(behind.upstream.requests) == before


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_wrong_key_is_no_permission(behind: Behind, program: str, tmp_path: Path) -> None:
    """401 for everybody, on open paths too: a fault that is seen at the first request."""
    places = replace(behind.places, port=free_port(), key="another-key-than-the-service-has-got")
    before = len(behind.upstream.requests)
    with front(program, "forward-auth", places, tmp_path) as tls:
        for target in ("/api/x", "/open/x"):
            sent = request(target, "Sec-Fetch-Mode: navigate", host=f"localhost:{places.port}")
            answer = parse(await said(places.origin, sent, tls=tls))
            assert (answer.status, "location" in answer.headers) == (401, False)
    assert len(behind.upstream.requests) == before
