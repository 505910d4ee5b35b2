"""`/bff/auth`: what it says to whom, and to whom it says nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from structlog.testing import capture_logs

from bff.oidc.dpop import ProofKey
from tests.unit.web.asking import (
    KEY,
    NAVIGATES,
    OURS,
    OWN,
    PROXY,
    SESSION,
    Ask,
    Sessions,
    application,
)  # fmt: skip


async def test_a_session_gets_its_token_and_its_name(ask: Ask) -> None:
    """200, nothing stored, no body; and no session is 401."""
    answer = await ask("/api/x", OURS)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["authorization"] == "Bearer access-one"
    assert answer.headers["x-forwarded-user"] == "alice"
    assert answer.headers["cache-control"] == "no-store"
    answer = await ask("/api/x")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert not {"authorization", "x-forwarded-user", "location"} & answer.headers.keys()
    assert answer.headers["x-bff-code"] == "unauthenticated"
    assert answer.headers["x-bff-login-url"] == "/bff/login"


@pytest.mark.parametrize("given", [None, "", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "\xe9"])
async def test_without_the_key_nobody_is_answered(sessions: Sessions, given: str | None) -> None:
    """401 whoever is signed in, from the proxy's own address too, before anything else is read."""
    transport = httpx2.ASGITransport(application(sessions), client=(PROXY, 1))
    fields = [*OURS.items(), ("X-Original-URI", "/a/../b")]
    if given is not None:
        fields.append(("X-Bff-Key", given))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    async with httpx2.AsyncClient(transport=transport, base_url="http://bff") as client:
        for path in ("/bff/auth", "/bff/auth/api/x"):
            answer = await client.get(path, headers=raw)
            assert answer.status_code == 401
            assert "authorization" not in answer.headers


async def test_a_key_that_is_given_twice_is_none(ask: Ask) -> None:
    """A proxy that adds its key to what the browser sent is not set up as it must be."""
    assert (await ask("/api/x", {**OURS, "x-bff-key": "wrong"})).status_code == 401


async def test_without_the_setting_there_is_no_such_page(sessions: Sessions) -> None:
    """404, with any key."""
    app = application(sessions, forward_auth_key=None)
    transport = httpx2.ASGITransport(app, client=(PROXY, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://bff") as client:
        for path in ("/bff/auth", "/bff/auth/api/x"):
            answer = await client.get(path, headers={"X-Bff-Key": "", **OURS})
            assert answer.status_code == 404


async def test_a_service_that_trusts_no_proxy_says_so_at_its_start(sessions: Sessions) -> None:
    """Then no route's policy is applied in full: the operator hears of it."""
    with capture_logs() as lines:
        application(sessions, trusted_proxies=())
    assert [line["event"] for line in lines] == ["forward_auth.no_trusted_proxies"]
    with capture_logs() as lines:
        application(sessions)
    assert lines == []


async def test_a_navigation_learns_where_to_sign_in(ask: Ask) -> None:
    """A page with the link, and the same in `Location`: a URL of ours, with the way back."""
    answer = await ask("/api/x?a=1&b=/", NAVIGATES)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == f"{OWN}/bff/login"
    assert parse_qs(location.query) == {"return_to": ["/api/x?a=1&b=/"]}
    assert 'href="/bff/login?return_to=/api/x%3Fa%3D1%26b%3D/"' in answer.text
    for method in ("POST", "HEAD"):
        assert "location" not in (await ask("/api/x", NAVIGATES, method=method)).headers
    for fetches in ({"Sec-Fetch-Mode": "cors"}, {"Accept": "*/*"}):
        assert "location" not in (await ask("/api/x", fetches)).headers


async def test_a_step_up_says_what_is_needed(ask: Ask) -> None:
    """The login asks for the route's `acr`; a page's script finds it in the problem."""
    answer = await ask("/gold", {**OURS, **NAVIGATES})
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {
        "acr_values": ["gold"], "return_to": ["/gold"],
    }  # fmt: skip
    answer = await ask("/gold", OURS)
    problem = json.loads(answer.content)
    assert problem["code"] == answer.headers["x-bff-code"] == "step_up_required"
    assert problem["login_url"] == answer.headers["x-bff-login-url"] == "/bff/login?acr_values=gold"


@pytest.mark.parametrize("sub", ["a b", "auth0|x", "a%20b", "~", "a" * 255])
async def test_a_sub_is_passed_on_unchanged(ask: Ask, sessions: Sessions, sub: str) -> None:
    """What a field can carry."""
    sessions.session_of_alice = replace(SESSION, sub=sub)
    assert (await ask("/api/x", OURS)).headers["x-forwarded-user"] == sub


@pytest.mark.parametrize("sub", [" a", "a ", "a\tb", "a\r\nX-Evil: 1", "\xe9", "\x7f", "", "\x00"])
async def test_a_sub_that_no_field_can_carry_is_refused(
    ask: Ask, sessions: Sessions, sub: str
) -> None:
    """An encoded, trimmed or missing one could stand for somebody else."""
    sessions.session_of_alice = replace(SESSION, sub=sub)
    answer = await ask("/api/x", OURS)
    assert answer.status_code == 403
    assert "authorization" not in answer.headers


async def test_a_bound_token_is_not_handed_out(ask: Ask, sessions: Sessions) -> None:
    """A session that began with BFF_DPOP: its token is of no use without our key; sign in anew."""
    sessions.session_of_alice = replace(SESSION, proof_key=ProofKey.generate())
    answer = await ask("/api/x", OURS)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["x-bff-login-url"] == "/bff/login"
    assert not {"authorization", "x-forwarded-user"} & answer.headers.keys()


async def test_redis_away_is_neither_a_yes_nor_a_no(ask: Ask, sessions: Sessions) -> None:
    """503: the proxy lets nobody pass, and nobody is sent to sign in."""
    sessions.away = True
    answer = await ask("/api/x", {**OURS, **NAVIGATES})
    assert answer.status_code == 503
    assert "location" not in answer.headers
