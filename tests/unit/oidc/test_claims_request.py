"""The `claims` parameter of a sign-in: what goes on, and what must come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.claims_request import BadClaimsError, ClaimsRequest, parse_claims


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"id_token": {"email": None}}, {}),
        ({"userinfo": {"acr": {"essential": True, "values": ["x"]}}}, {}),
        ({"id_token": {"auth_time": {"essential": True}}}, {"essential": ("auth_time",)}),
        ({"id_token": {"acr": {"values": ["gold"]}}}, {}),
        (
            {"id_token": {"acr": {"essential": True, "values": ["gold", "silver"]}}},
            {"essential": ("acr",), "acr_values": "gold silver"},
        ),
        (
            {"id_token": {"acr": {"essential": True, "value": "gold"}, "email": {}}},
            {"essential": ("acr",), "acr_values": "gold"},
        ),
        ({"id_token": {"acr": {"essential": True}}}, {"essential": ("acr",)}),
        ({"id_token": {"sub": {"value": "alice"}}}, {"sub": "alice"}),
        ({"id_token": {"x": {"essential": False, "purpose": "y"}}, "userinfo": {}}, {}),
    ],
)
def test_what_must_come_back(asked: dict[str, Any], found: dict[str, Any]) -> None:
    """Essential claims of the ID token, one of an essential acr's values, the value of `sub`."""
    request = parse_claims(json.dumps(asked, indent=2))
    assert request == ClaimsRequest(text=json.dumps(asked, separators=(",", ":")), **found)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "{}", '{"id_token": null}', '{"id_token": []}', '{"access_token": {}}',
        '{"id_token": {"acr": 1}}', '{"id_token": {"acr": "gold"}}',
        '{"id_token": {"acr": {"essential": "yes"}}}', '{"id_token": {"acr": {"values": "gold"}}}',
        '{"id_token": {"acr": {"values": [{}]}}}', '{"id_token": {"x": {"value": null}}}',
        '{"id_token": {"acr": {"essential": true, "values": ["a b"]}}}',
        '{"id_token": {"acr": {"essential": true, "value": 1}}}',
        '{"id_token": {"acr": {"essential": true, "values": [""]}}}',
        '{"id_token": {"sub": {"values": ["a", "b"]}}}', '{"id_token": {"sub": {"value": 1}}}',
        '{"id_token": {}, "id_token": {"acr": null}}', '{"id_token": {"' + "a" * 2100 + '": null}}',
        '{"id_token": {"a": NaN}}',
    ],
)  # fmt: skip
def test_what_is_no_claims_request(text: str) -> None:
    """It is refused, and goes nowhere."""
    with pytest.raises(BadClaimsError):
        parse_claims(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["acr", "sub", "auth_time", "essential", "value", "values", "id_token"])


@given(st.text(max_size=60) | st.dictionaries(NAMES, st.dictionaries(NAMES, JSON) | JSON))
def test_any_text_is_a_request_or_refused(asked: object) -> None:
    """No other fault, and what goes on says what was judged."""
    text = asked if isinstance(asked, str) else json.dumps(asked)
    try:
        request = parse_claims(text)
    except BadClaimsError:
        return
    assert json.loads(request.text) == json.loads(text)
