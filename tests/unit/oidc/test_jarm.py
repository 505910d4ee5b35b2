"""Signed authorization responses: each rule of JARM 2.4, one wrong thing at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.authorization import MAX_PARAMETER, BadResponseError
from bff.oidc.jarm import judge_response, signed_response
from bff.oidc.keys import Verified
from bff.oidc.tokens import Policy

ISSUER = "https://login.example.com/"
NOW = 1_800_000_000.0
POLICY = Policy(ISSUER, "my-spa", "RS256", 30.0)


def response(header: dict[str, Any] | None = None, **changes: object) -> Verified:
    """Return a good answer with some claims changed; None takes one away."""
    claims = {
        "iss": ISSUER, "aud": "my-spa", "exp": NOW + 600, "code": "c", "state": "s", **changes,
    }  # fmt: skip
    kept = {name: value for name, value in claims.items() if value is not None}
    return Verified({"alg": "RS256", **(header or {})}, kept, "raw")


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "oauth-authz-resp+jwt", "application/jwt"])
@pytest.mark.parametrize("aud", ["my-spa", ["my-spa"]])
def test_a_good_answer_is_read(aud: object, typ: str | None) -> None:
    """Code, state and issuer come out; members that are no parameters do not."""
    header = {} if typ is None else {"typ": typ}
    found = judge_response(response(header, aud=aud, session_state="ss", sub="x"), POLICY, NOW)
    assert found == {"iss": ISSUER, "code": "c", "state": "s", "session_state": "ss"}


def test_an_error_is_read_like_a_code() -> None:
    """Errors are signed too, and count only then."""
    token = response(code=None, error="access_denied", error_description="no")
    assert judge_response(token, POLICY, NOW) == {
        "iss": ISSUER, "state": "s", "error": "access_denied", "error_description": "no",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": None}, "response_iss"),
        ({"iss": ISSUER.rstrip("/")}, "response_iss"),
        ({"iss": [ISSUER]}, "response_iss"),
        ({"aud": None}, "response_aud"),
        ({"aud": "other"}, "response_aud"),
        ({"aud": []}, "response_aud"),
        ({"aud": ["my-spa", "other"]}, "response_aud"),
        ({"exp": None}, "response_exp"),
        ({"exp": NOW - 30}, "response_exp"),
        ({"exp": NOW - 360}, "response_exp"),
        ({"exp": "1900000000"}, "response_exp"),
        ({"exp": True}, "response_exp"),
        ({"code": 7}, "response_parameter"),
        ({"state": ["s"]}, "response_parameter"),
        ({"error": {}}, "response_parameter"),
        ({"code": "c" * (MAX_PARAMETER + 1)}, "response_parameter"),
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Issuer, audience and end must be there and right; parameters are strings."""
    with pytest.raises(BadResponseError) as caught:
        judge_response(response(**changes), POLICY, NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize("typ", ["logout+jwt", "at+jwt", "dpop+jwt", "", 7, ["jwt"]])
def test_a_jwt_of_another_kind_is_no_answer(typ: object) -> None:
    """A logout token or a proof that is replayed as an answer is refused by its type."""
    with pytest.raises(BadResponseError, match="response_typ"):
        judge_response(response({"typ": typ}), POLICY, NOW)


def test_the_end_may_be_a_little_ago() -> None:
    """The skew is tolerated, to the second."""
    assert judge_response(response(exp=NOW - 29.5), POLICY, NOW)["code"] == "c"


@pytest.mark.parametrize("parameters", [{}, {"code": "c", "state": "s"}, {"response": ""}])
def test_an_unsigned_answer_is_refused(parameters: dict[str, str]) -> None:
    """Who asked for a signed answer takes no other (FAPI 2.0 Message Signing)."""
    with pytest.raises(BadResponseError, match="no_signed_response"):
        signed_response(parameters)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "code", "state", "error"]), JSON))
def test_no_claims_make_it_stumble(claims: dict[str, Any]) -> None:
    """Parameters of strings, or a reason."""
    try:
        found = judge_response(Verified({}, claims, ""), POLICY, NOW)
    except BadResponseError as error:
        assert error.reason.startswith("response_")
    else:
        assert all(isinstance(value, str) for value in found.values())
