"""Routes that want a recent sign-in, or a token of their own: what BFF_ROUTES may say of it."""

from __future__ import annotations

from typing import Any

import pytest

from bff.oidc.token_target import TokenTarget, resources
from bff.proxy.route import Route, Verdict, permits
from bff.proxy.routes import RouteFaults, parse_routes


def route(**members: Any) -> Route:
    """Return a route with these members."""
    return parse_routes({"/api": {"upstream": "http://api", **members}})[0]


@pytest.mark.parametrize(
    ("members", "target"),
    [
        ({}, None),
        ({"resource": "https://api.example"}, TokenTarget(resource="https://api.example")),
        ({"resource": "urn:example:api"}, TokenTarget(resource="urn:example:api")),
        ({"token_exchange": {"audience": "api"}}, TokenTarget(exchange=True, audience="api")),
        (
            {"token_exchange": {"audience": "api", "resource": "https://a/b", "scope": "x y"}},
            TokenTarget(exchange=True, audience="api", resource="https://a/b", scope="x y"),
        ),
    ],
)
def test_for_whom_a_token_is_wanted(members: dict[str, Any], target: TokenTarget | None) -> None:
    """By `resource` at the refresh, or by an exchange."""
    assert route(**members).token == target


@pytest.mark.parametrize(
    "members",
    [
        {"resource": "api.example"}, {"resource": "https://api.example#x"}, {"resource": ""},
        {"resource": "https://api example"}, {"resource": ["https://a"]}, {"resource": None},
        {"resource": "/api"}, {"resource": "https:"}, {"resource": "https://a/" + "a" * 512},
        {"token_exchange": "api"}, {"token_exchange": {}}, {"token_exchange": {"scope": "x"}},
        {"token_exchange": {"audience": "a b"}}, {"token_exchange": {"audience": "a", "x": 1}},
        {"token_exchange": {"resource": "api"}}, {"token_exchange": {"audience": 1}},
        {"token_exchange": {"audience": "a", "scope": "x  y"}},
        {"token_exchange": {"audience": "a", "scope": ["x"]}},
        {"token_exchange": {"audience": "a"}, "resource": "https://a"},
        {"resource": "https://a", "auth": "none"}, {"resource": "https://a", "auth": "client"},
        {"token_exchange": {"audience": "a"}, "auth": "client"},
        {"max_age": 0}, {"max_age": -1}, {"max_age": 1.5}, {"max_age": True}, {"max_age": "60"},
        {"max_age": 40_000_000}, {"max_age": 60, "auth": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_a_fault(members: dict[str, Any]) -> None:
    """It is reported with the member's name and an example, before the port opens."""
    with pytest.raises(RouteFaults) as caught:
        route(**members)
    (fault,) = caught.value.faults
    assert any(name in fault for name in members)
    assert "for example" in fault


@pytest.mark.parametrize(
    ("max_age", "age", "verdict"),
    [
        (None, None, Verdict.OK),
        (300, 300.0, Verdict.OK),
        (300, 301.0, Verdict.STEP_UP),
        (300, None, Verdict.STEP_UP),
        (300, -5.0, Verdict.OK),
    ],
)
def test_how_recent_the_sign_in_must_be(
    max_age: int | None, age: float | None, verdict: Verdict
) -> None:
    """An unknown time is not recent; a clock that is a little ahead does no harm."""
    found = route() if max_age is None else route(max_age=max_age)
    assert permits(found, frozenset(), {}, None, age) is verdict


def test_what_no_sign_in_would_mend_comes_first() -> None:
    """A user who lacks a scope is not sent to sign in again for nothing."""
    found = route(max_age=1, scopes=["x"])
    assert permits(found, frozenset(), {}, None, 100.0) is Verdict.FORBIDDEN
    assert found.restricted
    assert route(max_age=1).restricted


def test_targets_have_names_of_their_own() -> None:
    """Two targets share a token only if they are the same in everything."""
    targets = [
        TokenTarget(resource="https://a"),
        TokenTarget(resource="https://b"),
        TokenTarget(exchange=True, resource="https://a"),
        TokenTarget(exchange=True, audience="https://a"),
        TokenTarget(exchange=True, audience="https://a", scope="x"),
    ]
    assert len({target.name for target in targets}) == len(targets)
    assert TokenTarget(resource="https://a").name == targets[0].name
    assert resources([*targets, targets[0]]) == ("https://a", "https://b")
