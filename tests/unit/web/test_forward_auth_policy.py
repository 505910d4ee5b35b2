"""`/bff/auth`: whom it lets pass, by the policy of the route of what was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import Problem
from bff.proxy.paths import BadPath, judge_path
from bff.web import forward_auth
from bff.web.asked import Asked
from tests.unit.web.asking import (
    ELSEWHERE,
    NAVIGATES,
    OURS,
    OWN,
    PROXY,
    TABLE,
    Ask,
)  # fmt: skip


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
