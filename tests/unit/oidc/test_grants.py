"""The token endpoint's answer: a grant, a refusal, or no answer at all; never one for another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import ProviderUnavailableError
from bff.oidc.grants import (
    KNOWN_ERRORS,
    MAX_LIFETIME,
    Grant,
    InvalidGrantError,
    RefusedError,
    judge_answer,
)


def body(**changes: object) -> bytes:
    """Return a proper answer; None takes a member away."""
    members = {"access_token": "at", "token_type": "Bearer", "expires_in": 300, **changes}
    return json.dumps({k: v for k, v in members.items() if v is not None}).encode()


def test_a_full_answer_is_a_grant() -> None:
    """Tokens, lifetime and scope come out."""
    answer = body(refresh_token="rt", id_token="idt", scope="openid  a")
    assert judge_answer(200, answer) == Grant("at", 300, "rt", "idt", frozenset({"openid", "a"}))


def test_a_small_answer_is_a_grant() -> None:
    """Only the access token and its type must be there."""
    assert judge_answer(200, body(expires_in=None)) == Grant("at", None, None, None, None)
    assert judge_answer(200, body(scope=["a"])).scope is None
    assert judge_answer(200, body(scope="")).scope == frozenset()


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", "bEARER"])
def test_the_case_of_the_token_type_does_not_matter(token_type: str) -> None:
    """RFC 6749 5.1: the value is case insensitive (note T20)."""
    assert judge_answer(200, body(token_type=token_type)).access_token == "at"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(300, 300), (0, 0), (1.5, 1.5), ("300", 300), ("0", 0), (10**12, MAX_LIFETIME),
     (10**400, MAX_LIFETIME), ("9" * 5000, MAX_LIFETIME), (-1, None), ("-1", None), ("", None),
     ("soon", None), ("\u0663", None), (True, None), ([300], None), (None, None)],
)  # fmt: skip
def test_lifetimes_in_any_form_are_read_or_unknown(value: object, seconds: float | None) -> None:
    """A lifetime that makes no sense is as if it were not there; a huge one is cut."""
    assert judge_answer(200, body(expires_in=value)).expires_in == seconds


@pytest.mark.parametrize("data", [b'{"access_token":"a","token_type":"bearer","expires_in":1e999}'])
def test_an_endless_lifetime_is_cut(data: bytes) -> None:
    """A number beyond all numbers is a long time, not a crash."""
    assert judge_answer(200, data).expires_in == MAX_LIFETIME


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_invalid_grant_is_told_apart(status: int) -> None:
    """The one refusal that ends a session is recognised by its code, whatever the status."""
    with pytest.raises(InvalidGrantError):
        judge_answer(status, b'{"error": "invalid_grant", "error_description": "x"}')


@pytest.mark.parametrize(
    ("status", "data", "reason"),
    [
        (400, b'{"error": "invalid_client"}', "invalid_client"),
        (401, b'{"error": "invalid_client"}', "invalid_client"),
        (400, b'{"error": "invalid_scope"}', "invalid_scope"),
        (200, b'{"error": "invalid_client", "access_token": "a"}', "invalid_client"),
        (400, b'{"error": "custom"}', "other_error"),
        (400, b'{"error": "Invalid_Grant"}', "other_error"),
        (400, b'{"error": " invalid_grant"}', "other_error"),
        (200, body(access_token=None), "no_access_token"),
        (200, body(access_token=""), "no_access_token"),
        (200, body(access_token=7), "no_access_token"),
        (200, body(access_token="a b"), "no_access_token"),
        (200, body(access_token="a\nb"), "no_access_token"),
        (200, body(access_token="caf\u00e9"), "no_access_token"),
        (200, body(token_type=None), "token_type"),
        (200, body(token_type="DPoP"), "token_type"),
        (200, body(token_type=7), "token_type"),
        (200, body(refresh_token=7), "refresh_token"),
        (200, body(refresh_token=""), "refresh_token"),
        (200, body(id_token=7), "id_token"),
    ],
)
def test_a_refusal_is_no_invalid_grant(status: int, data: bytes, reason: str) -> None:
    """Other errors, and grants that cannot be used, say nothing about the user's session."""
    with pytest.raises(RefusedError) as caught:
        judge_answer(status, data)
    assert not isinstance(caught.value, InvalidGrantError)
    assert caught.value.reason == str(caught.value) == reason


@pytest.mark.parametrize("error", [["invalid_grant"], {"a": 1}, 7, True])
def test_an_error_of_a_wrong_type_is_some_refusal(error: object) -> None:
    """Only the text `invalid_grant` is invalid_grant."""
    with pytest.raises(RefusedError, match="other_error"):
        judge_answer(400, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (500, b"{}"), (502, b"<html>"), (503, b'{"error": "invalid_grant"}'), (599, b""),
        (408, b"{}"), (425, b""), (429, b'{"error": "invalid_grant"}'),
        (400, b'{"error": "server_error"}'), (400, b'{"error": "temporarily_unavailable"}'),
        (400, b'{"error": "slow_down"}'),
        (200, b""), (200, b"<html>"), (200, b"[]"), (400, b"invalid_grant"),
        (400, b'{"error":"x","error":"invalid_grant"}'),
        (400, b"{}"), (404, body()), (302, b""), (302, body()), (201, body()), (204, b""),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_means_the_provider_is_not_well(status: int, data: bytes) -> None:
    """5xx, busy, temporary errors, other statuses, and what is no JSON object."""
    with pytest.raises(ProviderUnavailableError):
        judge_answer(status, data)


@pytest.mark.parametrize("error", sorted(KNOWN_ERRORS - {"invalid_grant"}))
def test_known_errors_keep_their_names(error: str) -> None:
    """The log can tell them apart."""
    with pytest.raises(RefusedError, match=f"^{error}$"):
        judge_answer(400, json.dumps({"error": error}).encode())


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
MEMBERS = st.sampled_from(
    ["access_token", "token_type", "expires_in", "refresh_token", "id_token", "scope", "error"]
)


@given(st.integers(100, 599), st.dictionaries(MEMBERS, JSON))
def test_no_answer_makes_it_stumble(status: int, members: dict[str, Any]) -> None:
    """Any status and any members: one of the three outcomes, and tokens that fit a header."""
    data = json.dumps({"access_token": "a", "token_type": "bearer", **members}).encode()
    try:
        grant = judge_answer(status, data)
    except (ProviderUnavailableError, RefusedError):
        return
    assert status == 200
    assert grant.access_token.isascii()
    assert " " not in grant.access_token


@given(st.integers(100, 599), st.binary(max_size=30))
def test_no_bytes_are_invalid_grant(status: int, data: bytes) -> None:
    """Noise never ends a session."""
    with pytest.raises((ProviderUnavailableError, RefusedError)) as caught:
        judge_answer(status, data)
    assert not isinstance(caught.value, InvalidGrantError)
