"""Requests from our own page, and from everybody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.csrf import check

OWN = "https://app.example.com"
ALLOWED = frozenset({"https://www.example.com"})


@pytest.mark.parametrize(
    ("method", "fields", "ours"),
    [
        ("GET", {"sec-fetch-site": "same-origin"}, True),
        ("POST", {"sec-fetch-site": "same-origin"}, True),
        ("GET", {"sec-fetch-site": "none"}, True),
        ("POST", {"sec-fetch-site": "none"}, False),
        ("HEAD", {"sec-fetch-site": "none"}, False),
        ("GET", {"sec-fetch-site": "same-site"}, False),
        ("GET", {"sec-fetch-site": "cross-site"}, False),
        ("GET", {"sec-fetch-site": ""}, False),
        ("GET", {"sec-fetch-site": "Same-Origin"}, False),
        ("GET", {"sec-fetch-site": "same-origin, cross-site"}, False),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "https://www.example.com"}, True),
        ("POST", {"sec-fetch-site": "same-site", "origin": "https://www.example.com"}, True),
        ("POST", {"sec-fetch-site": "none", "origin": "https://www.example.com"}, True),
        ("POST", {"sec-fetch-site": "cross-site", "origin": OWN}, False),
        ("POST", {"sec-fetch-site": "cross-site", "x-csrf": "1"}, False),
        ("POST", {"origin": OWN}, True),
        ("POST", {"origin": "https://www.example.com"}, True),
        ("POST", {"origin": "https://APP.example.com"}, False),
        ("POST", {"origin": "https://app.example.com:443"}, False),
        ("POST", {"origin": "https://app.example.com."}, False),
        ("POST", {"origin": "https://app.example.com/"}, False),
        ("POST", {"origin": "https://app.example.com.evil.com"}, False),
        ("POST", {"origin": "http://app.example.com"}, False),
        ("POST", {"origin": "https://evil.com"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": ""}, False),
        ("POST", {"origin": "null", "x-csrf": "1"}, False),
        ("POST", {"origin": "https://evil.com", "x-csrf": "1"}, False),
        ("GET", {"origin": "https://evil.com"}, False),
        ("POST", {"x-csrf": "1"}, True),
        ("GET", {"x-csrf": "1"}, True),
        ("POST", {"x-csrf": "0"}, False),
        ("POST", {"x-csrf": "true"}, False),
        ("POST", {"x-csrf": "1, 1"}, False),
        ("POST", {"referer": OWN + "/"}, False),
        ("GET", {}, False),
        ("POST", {}, False),
    ],
)
def test_who_made_a_request(method: str, fields: dict[str, str], ours: bool) -> None:
    """Every case of the contract, and those that look like one."""
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    assert check(method, headers, own_origin=OWN, allowed=ALLOWED) is ours


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"sec-fetch-site", b"same-origin"), (b"origin", OWN.encode()), (b"x-csrf", b"1")],
)
def test_a_field_that_is_there_twice_is_believed_in_neither(name: bytes, value: bytes) -> None:
    """Even twice the same: one of the two came from somewhere else."""
    headers = [(b"sec-fetch-site", b"same-origin"), (b"accept", b"a"), (b"accept", b"b")]
    assert check("POST", headers, own_origin=OWN, allowed=ALLOWED)
    doubled = [*headers, (name, value), (name, value)]
    assert not check("POST", doubled, own_origin=OWN, allowed=ALLOWED)


@given(st.binary(max_size=40))
def test_no_other_origin_is_ours(origin: bytes) -> None:
    """Only the exact bytes pass, and none raise."""
    passes = check("POST", [(b"origin", origin)], own_origin=OWN, allowed=ALLOWED)
    assert passes is (origin.decode("latin-1") in {OWN, *ALLOWED})
