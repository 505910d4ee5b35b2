"""`/bff/auth`: whom it lets pass, and what it says to the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from bff.errors import Problem, StoreUnavailableError
from bff.proxy.paths import BadPath, judge_path
from bff.proxy.route_config import parse_routes
from bff.proxy.routes import RouteTable
from bff.settings import Settings
from bff.web import forward_auth
from bff.web.asked import Asked
from bff.web.problems import problem_answer
from bff.web.service import Service
from tests.support.sessions import a_session

KEY = "a key that only the reverse proxy and we know"
OWN = "https://app.example.com"
PROXY, ELSEWHERE = "10.0.0.7", "192.0.2.66"
SESSION = a_session(claims={"roles": ["user"], "acr": "bronze"})
UP = "http://api.internal:9000"
ROUTES: dict[str, Any] = {
    "/api": UP,
    "/public": {"upstream": UP, "auth": "none"},
    "/maybe": {"upstream": UP, "auth": "optional"},
    "/machine": {"upstream": UP, "auth": "client"},
    "/orders": {"upstream": UP, "scopes": ["orders:read"]},
    "/write": {"upstream": UP, "scopes": ["orders:write"]},
    "/admin": {"upstream": UP, "claims": {"roles": "admin"}},
    "/gold": {"upstream": UP, "acr": "gold"},
}
TABLE = RouteTable(parse_routes(ROUTES))
OURS = {"Sec-Fetch-Site": "same-origin", "Cookie": "bff=alice"}
NAVIGATES = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


class Sessions:
    """Stands for `sessions.access`: `bff=alice` is signed in."""

    def __init__(self) -> None:
        self.session_of_alice: Any = SESSION
        self.away = False

    @property
    def cookie(self) -> Sessions:
        """Our cookie: this knows it as well."""
        return self

    def present(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a request carries our cookie."""
        return any(name == b"cookie" and b"bff=" in value for name, value in headers)

    async def session(self, headers: Sequence[tuple[bytes, bytes]]) -> Any:
        """Return the session of a request."""
        if self.away:
            raise StoreUnavailableError("refused")
        return self.session_of_alice if (b"cookie", b"bff=alice") in headers else None

    async def fresh(self, session: Any) -> Any:
        """Return it with a usable token."""
        return session

    async def client_token(self) -> str:
        """Return our own token."""
        return "our-own"


Ask = Callable[..., Awaitable[httpx2.Response]]


def application(sessions: Sessions, **values: Any) -> FastAPI:
    """Return the pages of forward-auth alone, with the door's way of telling what is wrong."""
    given: dict[str, Any] = {
        "base_url": OWN, "issuer": "https://login.example.com", "client_id": "x",
        "client_auth": "none", "redis_url": SecretStr("redis://redis"),
        "secret": (SecretStr("s" * 32),), "forward_auth_key": SecretStr(KEY),
        "trusted_proxies": (ip_network("10.0.0.0/8"),), **values,
    }  # fmt: skip
    settings = Settings.load(**given)
    service = cast("Service", SimpleNamespace(settings=settings, access=sessions))
    app = FastAPI(openapi_url=None)
    app.include_router(forward_auth.router(service, TABLE))

    @app.middleware("http")
    async def identify(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.request_id = "request-one"
        return await go_on(request)

    @app.exception_handler(Problem)
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_answer(
            error, request.headers, request_id="request-one", path="/", method="POST"
        )

    return app


@pytest.fixture
def sessions() -> Sessions:
    """Who is signed in."""
    return Sessions()


@pytest.fixture
async def ask(sessions: Sessions) -> AsyncIterator[Ask]:
    """Ask as a proxy does: the key, and for a path; `peer` is who asks."""
    app = application(sessions)

    async def ask(
        target: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        peer: str = PROXY,
        method: str | None = None,
        path: str = "/bff/auth",
        by: str = "GET",
    ) -> httpx2.Response:
        fields = [("X-Bff-Key", KEY), *(headers or {}).items()]
        if target is not None:
            fields.append(("X-Original-URI", target))
        if method is not None:
            fields.append(("X-Original-Method", method))
        transport = httpx2.ASGITransport(app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://bff") as client:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
            return await client.request(by, path, headers=raw)

    yield ask


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


@pytest.mark.parametrize(
    ("target", "signed_in", "signed_out"),
    [
        ("/public", (200, None), (200, None)),
        ("/maybe", (200, "Bearer access-one"), (200, None)),
        ("/machine", (200, "Bearer our-own"), (200, "Bearer our-own")),
        ("/orders/1?a=b", (200, "Bearer access-one"), (401, None)),
        ("/write", (403, None), (401, None)),
        ("/admin", (403, None), (401, None)),
        ("/admin/", (403, None), (401, None)),
        ("/%61dmin", (403, None), (401, None)),
        ("/admin?/../public", (403, None), (401, None)),
        ("/gold", (401, None), (401, None)),
        ("/no-route", (200, "Bearer access-one"), (401, None)),
        ("/publicity", (200, "Bearer access-one"), (401, None)),
        ("/PUBLIC", (200, "Bearer access-one"), (401, None)),
        ("/bff/session", (200, "Bearer access-one"), (401, None)),
        (OWN + "/admin", (403, None), (401, None)),
        (None, (200, "Bearer access-one"), (401, None)),
    ],
)
async def test_the_routes_policy_is_applied(
    ask: Ask, target: str | None, signed_in: tuple[int, str], signed_out: tuple[int, str]
) -> None:
    """As if the request had come to us; where no route is, and under /bff, a session is needed."""
    answer = await ask(target, OURS)
    assert (answer.status_code, answer.headers.get("authorization")) == signed_in
    answer = await ask(target)
    assert (answer.status_code, answer.headers.get("authorization")) == signed_out
    assert "x-forwarded-user" not in answer.headers


@pytest.mark.parametrize(
    ("target", "signed_in", "signed_out"),
    [
        ("/public", 200, 401), ("/maybe", 200, 401), ("/machine", 200, 401), ("/api", 200, 401),
        ("/admin", 403, 401), ("/write", 403, 401), ("/gold", 401, 401), (None, 200, 401),
    ],
)  # fmt: skip
async def test_who_is_not_trusted_is_believed_only_what_makes_it_stricter(
    ask: Ask, target: str | None, signed_in: int, signed_out: int
) -> None:
    """No field opens a route to the signed-out, nor gives our own token; a policy is never lost."""
    answer = await ask(target, OURS, peer=ELSEWHERE)
    assert answer.status_code == signed_in
    assert answer.headers.get("authorization") in {None, "Bearer access-one"}
    answer = await ask(target, NAVIGATES, peer=ELSEWHERE)
    assert answer.status_code == signed_out
    assert "location" not in answer.headers


BAD_PATHS = (
    "", "api", "*", "//api", "/api//x", "/public/../admin", "/public/%2e%2e/admin", "/admin/.",
    "/public/..;/admin", "/public/..;a=b/admin", "/public%2f..%2fadmin", "/public\\..\\admin",
    "/public%5c..%5cadmin", "/%c0%ae%c0%ae/admin", "/public/%zz", "/public/%", "/public%00",
    "/public\x7f", "/a b", "/public#/../admin", "/public%0d%0aX: y", "/caf\xe9",
    "http://evil.example/public", "https://app.example.com:1/public", "/public;x/../admin",
)  # fmt: skip


@pytest.mark.parametrize("target", BAD_PATHS)
async def test_paths_that_can_be_read_in_two_ways_are_refused(ask: Ask, target: str) -> None:
    """400 for everybody, whichever way the proxy tells it: the upstream may read it differently."""
    for peer in (PROXY, ELSEWHERE):
        for name in ("X-Forwarded-Uri", "X-Original-URL"):
            answer = await ask(None, {**OURS, name: target}, peer=peer)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_path"), name


@given(
    st.binary(max_size=12), st.sampled_from([b"/admin/", b"/public/", b"/gold", b"/", b"//", b""])
)
def test_the_policy_is_that_of_the_same_bytes_on_a_route(tail: bytes, start: bytes) -> None:
    """For all paths: what is judged here is what is judged where we carry the request, or 400."""
    asked = Asked("GET", start + tail.replace(b"?", b""), b"")
    try:
        expected = TABLE.match(judge_path(asked.path)) or forward_auth.ANY_SESSION
    except BadPath:
        for believed in (True, False):
            with pytest.raises(Problem) as caught:
                forward_auth.judged_route(TABLE, asked, believed=believed)
            assert caught.value.status == 400
        return
    assert forward_auth.judged_route(TABLE, asked, believed=True) == expected
    stricter = forward_auth.judged_route(TABLE, asked, believed=False)
    assert stricter == replace(expected, auth="user")


async def test_envoy_appends_the_path_to_ours(ask: Ask) -> None:
    """With each method, and by the policy of the route."""
    for path, headers, status in (
        ("/bff/auth/api/x", OURS, 200), ("/bff/auth/admin?a=/public", OURS, 403),
        ("/bff/auth/public", {}, 200), ("/bff/auth/", OURS, 200), ("/bff/auth/", {}, 401),
    ):  # fmt: skip
        for by in ("GET", "POST", "DELETE", "HEAD"):
            assert (await ask(None, headers, path=path, by=by)).status_code == status
    assert (await ask(None, {}, path="/bff/auth/public", peer=ELSEWHERE)).status_code == 401
    for by in ("POST", "DELETE", "HEAD"):
        assert (await ask("/api/x", OURS, by=by)).status_code == 405


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_methods_that_no_route_takes_are_refused(ask: Ask, method: str) -> None:
    """403, which every proxy understands."""
    assert (await ask("/public", method=method)).status_code == 403


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", {"Sec-Fetch-Site": "none"}, 403),
        ("GET", {"Sec-Fetch-Site": "none"}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("get", {"Sec-Fetch-Site": "none"}, 403),
        ("", {"Sec-Fetch-Site": "none"}, 403),
        ("POST", {"Origin": OWN}, 200),
        ("POST", {"Origin": "https://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"X-CSRF": "1"}, 200),
        ("POST", {}, 403),
        ("GET", {}, 403),
    ],
)
async def test_other_sites_cannot_act_through_the_proxy(
    ask: Ask, method: str, fields: dict[str, str], status: int
) -> None:
    """The rule of routes, with the method that the browser used."""
    for peer in (PROXY, ELSEWHERE):
        headers = {**fields, "Cookie": "bff=alice"}
        answer = await ask("/api/x", headers, method=method, peer=peer)
        assert answer.status_code == status
        if status == 403:
            assert answer.json()["code"] == answer.headers["x-bff-code"] == "csrf"
            assert "x-bff-login-url" not in answer.headers


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


async def test_redis_away_is_neither_a_yes_nor_a_no(ask: Ask, sessions: Sessions) -> None:
    """503: the proxy lets nobody pass, and nobody is sent to sign in."""
    sessions.away = True
    answer = await ask("/api/x", {**OURS, **NAVIGATES})
    assert answer.status_code == 503
    assert "location" not in answer.headers
