"""What tokens say: each claim, changed in every way that matters, gives its own reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.keys import BadTokenError, Verified
from bff.oidc.tokens import (
    MAX_ID_TOKEN_AGE,
    Policy,
    check_id_token,
    check_logout_token,
    check_refreshed_id_token,
)
from tests.support.jose import (
    CLIENT_ID,
    ISSUER,
    LOGOUT_EVENT,
    NOW,
    at_hash,
    id_claims,
    logout_claims,
)

SKEW = 30.0
NONCE = "n-0S6_WzA2Mj"
POLICY = Policy(ISSUER, CLIENT_ID, "RS256", SKEW)
STRICT = Policy(ISSUER, CLIENT_ID, "RS256", SKEW, logout_typ_required=True)
ACCESS = "access-token"
GONE = None


def token(claims: Mapping[str, Any], alg: str = "RS256", **header: Any) -> Verified:
    """Return a token whose signature holds."""
    members = {"alg": alg, "typ": "JWT", **header}
    return Verified({k: v for k, v in members.items() if v is not None}, claims, "raw.id.token")


def judge(claims: Mapping[str, Any], now: float = NOW, **options: Any) -> Any:
    """Judge the ID token of a login."""
    header = options.pop("header", {})
    return check_id_token(token(claims, **header), POLICY, now, **{"nonce": NONCE, **options})


def reason_of(check: Any, *arguments: Any, **options: Any) -> str:
    """Return why a token is refused."""
    with pytest.raises(BadTokenError) as caught:
        check(*arguments, **options)
    return caught.value.reason


def test_a_proper_id_token_is_believed() -> None:
    """Subject, provider session, time, all claims and the token itself come out."""
    claims = id_claims(sid="s1", name="Alice", amr=["pwd"])
    found = judge(claims)
    assert (found.sub, found.sid, found.issued_at) == ("alice", "s1", NOW)
    assert found.claims == claims
    assert found.raw == "raw.id.token"
    assert judge(id_claims()).sid is None


ACCEPTED: list[dict[str, Any]] = [
    {"aud": [CLIENT_ID]},
    {"azp": CLIENT_ID},
    {"aud": [CLIENT_ID], "azp": CLIENT_ID},
    {"exp": NOW - SKEW + 1},
    {"iat": NOW + SKEW},
    {"iat": NOW - MAX_ID_TOKEN_AGE - SKEW, "exp": NOW + 1},
    {"iat": NOW - 0.5, "exp": NOW + 0.5},
    {"nbf": NOW + SKEW},
    {"nbf": 0},
    {"sub": "x" * 255},
    {"sub": "\u00e9\u20ac \U0001f600"},
    {"auth_time": NOW - 100_000},
    {"acr": "0"},
    {"unknown": {"a": [1]}},
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=str)
def test_an_id_token_at_the_edge_of_the_rules_is_believed(changes: dict[str, Any]) -> None:
    """An audience in a list, a clock that is off by no more than the skew, unknown claims."""
    assert judge(id_claims(**changes)).claims["iss"] == ISSUER


COMMON: list[tuple[dict[str, Any], str]] = [
    ({"iss": ISSUER + "1"}, "iss"),
    ({"iss": ISSUER.rstrip("/")}, "iss"),
    ({"iss": ISSUER.upper()}, "iss"),
    ({"iss": [ISSUER]}, "iss"),
    ({"iss": GONE}, "iss"),
    ({"aud": CLIENT_ID + "1"}, "aud"),
    ({"aud": GONE}, "aud"),
    ({"aud": []}, "aud"),
    ({"aud": ["other"]}, "aud"),
    ({"aud": "other", "azp": CLIENT_ID}, "aud"),
    ({"aud": [CLIENT_ID, "other"]}, "aud"),
    ({"aud": [CLIENT_ID, CLIENT_ID + "1"]}, "aud"),
    ({"aud": ["other", CLIENT_ID], "azp": CLIENT_ID}, "aud"),
    ({"aud": {CLIENT_ID: 1}}, "aud"),
    ({"aud": f"{CLIENT_ID} other"}, "aud"),
    ({"azp": "other"}, "azp"),
    ({"azp": [CLIENT_ID]}, "azp"),
    ({"exp": GONE}, "exp"),
    ({"exp": NOW - SKEW}, "exp"),
    ({"exp": NOW - 360}, "exp"),
    ({"exp": 0}, "exp"),
    ({"exp": -1}, "exp"),
    ({"exp": str(NOW + 300)}, "exp"),
    ({"exp": True}, "exp"),
    ({"exp": float("inf")}, "exp"),
    ({"exp": 10**400}, "exp"),
    ({"exp": [NOW + 300]}, "exp"),
    ({"iat": GONE}, "iat"),
    ({"iat": NOW + SKEW + 1}, "iat"),
    ({"iat": str(NOW)}, "iat"),
    ({"iat": False}, "iat"),
    ({"iat": -1}, "iat"),
    ({"nbf": NOW + SKEW + 1}, "nbf"),
    ({"nbf": "0"}, "nbf"),
    ({"nbf": True}, "nbf"),
]
OF_ID_TOKENS: list[tuple[dict[str, Any], str]] = [
    ({"sub": GONE}, "sub"),
    ({"sub": ""}, "sub"),
    ({"sub": 7}, "sub"),
    ({"sub": ["alice"]}, "sub"),
    ({"sub": "x" * 256}, "sub"),
    ({"sid": 7}, "sid"),
    ({"sid": ["s1"]}, "sid"),
    ({"events": {LOGOUT_EVENT: {}}}, "events"),
    ({"events": {}}, "events"),
]
OF_LOGINS: list[tuple[dict[str, Any], str]] = [
    ({"nonce": GONE}, "nonce"),
    ({"nonce": NONCE + "1"}, "nonce"),
    ({"nonce": ""}, "nonce"),
    ({"nonce": 7}, "nonce"),
    ({"nonce": [NONCE]}, "nonce"),
    ({"nonce": "\u00e9"}, "nonce"),
    ({"iat": NOW - MAX_ID_TOKEN_AGE - SKEW - 1}, "iat_old"),
    ({"auth_time": "now"}, "auth_time"),
    ({"auth_time": True}, "auth_time"),
    ({"auth_time": -1}, "auth_time"),
]


@pytest.mark.parametrize(("changes", "reason"), [*COMMON, *OF_ID_TOKENS, *OF_LOGINS], ids=str)
def test_each_bad_claim_of_an_id_token_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    """One claim wrong, missing or of the wrong type: the token is refused for exactly that."""
    assert reason_of(judge, id_claims(**changes)) == reason


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "id_token+jwt", None])
def test_types_of_an_id_token(typ: str | None) -> None:
    """`typ` may be absent, JWT or id_token+jwt, in any case, with or without `application/`."""
    assert judge(id_claims(), header={"typ": typ})


@pytest.mark.parametrize("typ", ["logout+jwt", "at+jwt", "dpop+jwt", "", "JWT ", 7, ["JWT"]])
def test_a_token_of_another_type_is_no_id_token(typ: object) -> None:
    """Tokens that say they are something else are refused (RFC 8725 3.11)."""
    assert reason_of(judge, id_claims(), header={"typ": typ}) == "typ"


@pytest.mark.parametrize(
    ("alg", "size"),
    [("RS256", "sha256"), ("PS384", "sha384"), ("ES512", "sha512"), ("HS256", "sha256"),
     ("EdDSA", "sha512"), ("Ed25519", "sha512")],
)  # fmt: skip
def test_at_hash_is_checked_with_the_hash_of_the_algorithm(alg: str, size: str) -> None:
    """A right at_hash passes, every other one is refused (Core 3.1.3.8)."""
    header = {"alg": alg}
    right = id_claims(at_hash=at_hash(ACCESS, size))
    assert judge(right, access_token=ACCESS, header=header)
    for wrong in (at_hash(ACCESS + "x", size), at_hash(ACCESS, size) + "=", "", 7, "\u00e9"):
        claims = id_claims(at_hash=wrong)
        assert reason_of(judge, claims, access_token=ACCESS, header=header) == "at_hash"


def test_at_hash_may_be_absent_or_stand_alone() -> None:
    """In the code flow at_hash is optional; without an access token it says nothing."""
    assert judge(id_claims(), access_token=ACCESS)
    assert judge(id_claims(at_hash="anything"))


def test_a_hash_of_the_code_or_state_must_be_right_where_it_is() -> None:
    """`c_hash` and `s_hash` are optional too, and are of what came back to the redirect URI."""
    code, state = "the-code", "the-state"
    for name, hashed in (("c_hash", code), ("s_hash", state)):
        assert judge(id_claims(**{name: at_hash(hashed)}), code=code, state=state)
        assert judge(id_claims(**{name: at_hash(hashed)}))
        wrong = id_claims(**{name: at_hash(f"{hashed}x")})
        assert reason_of(judge, wrong, code=code, state=state) == name


@pytest.mark.parametrize(
    ("auth_time", "max_age", "fits"),
    [
        (NOW, 0, True), (NOW - SKEW, 0, True), (NOW - SKEW - 1, 0, False),
        (NOW - 100, 100, True), (NOW - 100 - SKEW, 100, True), (NOW - 101 - SKEW, 100, False),
        (None, 0, False), (None, 100_000, False), (NOW - 1e6, None, True), (None, None, True),
    ],
)  # fmt: skip
def test_max_age_is_held_against_auth_time(
    auth_time: float | None, max_age: int | None, *, fits: bool
) -> None:
    """Where max_age was asked, auth_time must be there and recent, max_age 0 included."""
    claims = id_claims(auth_time=auth_time)
    if fits:
        assert judge(claims, max_age=max_age)
    else:
        assert reason_of(judge, claims, max_age=max_age) == "max_age"


@pytest.mark.parametrize(
    ("auth_time", "asked_at", "max_age", "fits"),
    [
        (NOW - 400, NOW - 390, 0, True),
        (NOW - 400, NOW - 369, 0, False),
        (NOW - 100, NOW - 500, 0, True),
        (NOW - 100, NOW + 500, 60, False),
        (NOW - 90, NOW + 500, 60, True),
    ],
)
def test_max_age_is_measured_when_it_is_asked(
    auth_time: float, asked_at: float, max_age: int, *, fits: bool
) -> None:
    """Who takes minutes at the provider's pages is not refused; no clock makes it laxer."""
    claims = id_claims(auth_time=auth_time)
    if fits:
        assert judge(claims, max_age=max_age, asked_at=asked_at)
    else:
        assert reason_of(judge, claims, max_age=max_age, asked_at=asked_at) == "max_age"


def test_nobody_signs_in_tomorrow() -> None:
    """An `auth_time` that lies ahead would be recent for ever."""
    assert judge(id_claims(auth_time=NOW + SKEW))
    assert reason_of(judge, id_claims(auth_time=NOW + SKEW + 1)) == "auth_time"


def test_what_was_asked_for_by_claims_must_come_back() -> None:
    """Essential claims, and the user that was named."""
    claims = id_claims(acr="gold", email=None)
    assert judge(claims, essential=("acr",), sub="alice")
    assert reason_of(judge, claims, essential=("acr", "auth_time")) == "essential_claim"
    assert reason_of(judge, claims, essential=("email",)) == "essential_claim"
    assert reason_of(judge, claims, sub="bob") == "other_sub"


@pytest.mark.parametrize(
    ("acr", "asked", "fits"),
    [("gold", "gold", True), ("gold", "silver gold", True), ("silver", "gold", False),
     (None, "gold", False), (["gold"], "gold", False), (None, None, True), ("x", None, True),
     ("gold silver", "gold silver", False), ("", "gold", False)],
)  # fmt: skip
def test_acr_must_be_one_that_was_asked(acr: object, asked: str | None, *, fits: bool) -> None:
    """Where acr_values were asked, the answer's acr must be among them."""
    claims = id_claims(acr=acr)
    if fits:
        assert judge(claims, acr_values=asked)
    else:
        assert reason_of(judge, claims, acr_values=asked) == "acr"


def refreshed(
    claims: Mapping[str, Any], login: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """Judge the ID token of a refresh answer."""
    return check_refreshed_id_token(
        token(claims), POLICY, NOW, sub="alice",
        login_claims=id_claims() if login is None else login, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "login"),
    [
        ({}, {}),
        ({"nonce": GONE}, {}),
        ({"iat": NOW - 50_000}, {}),
        ({"auth_time": 5}, {"auth_time": 5}),
        ({"auth_time": 5}, {}),
        ({}, {"auth_time": 5}),
        ({"sid": "other"}, {"sid": "s1"}),
        ({"acr": "other"}, {"acr": "gold"}),
    ],
)
def test_an_id_token_of_a_refresh_is_believed(
    changes: dict[str, Any], login: dict[str, Any]
) -> None:
    """The nonce may be left out, the token may be of any age, and claims may be new (Core 12.2)."""
    assert refreshed(id_claims(**changes), id_claims(**login)).sub == "alice"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *COMMON,
        *OF_ID_TOKENS,
        ({"sub": "mallory"}, "sub_changed"),
        ({"sub": "Alice"}, "sub_changed"),
        ({"nonce": "other"}, "nonce_changed"),
        ({"auth_time": 6}, "auth_time_changed"),
        ({"at_hash": "wrong"}, "at_hash"),
    ],
    ids=str,
)
def test_each_bad_claim_of_a_refreshed_id_token_has_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    """Another user, another login, or any fault of an ID token refuses the refresh's."""
    login = id_claims(auth_time=5)
    found = reason_of(refreshed, id_claims(**changes), login, access_token=ACCESS)
    assert found == reason


def logout(claims: Mapping[str, Any], policy: Policy = POLICY, **header: Any) -> Any:
    """Judge a logout token."""
    return check_logout_token(token(claims, **header), policy, NOW)


def test_a_proper_logout_token_is_believed() -> None:
    """Whom it speaks of, its name and its times come out; unknown claims are ignored."""
    found = logout(logout_claims(ignored_claim="x"))
    assert (found.sub, found.sid, found.jti) == ("alice", "s1", "one")
    assert (found.issued_at, found.expires_at) == (NOW, NOW + 120)
    assert logout(logout_claims(sub=None)).sub is None
    assert logout(logout_claims(sid=None)).sid is None


def test_a_logout_time_is_rounded_up() -> None:
    """An ID token of the same second as the logout is not newer than it."""
    assert logout(logout_claims(iat=NOW - 0.5)).issued_at == NOW


@pytest.mark.parametrize("sid", ["aB3 %&#`", "\u00e9", "x" * 500, "../../x", "\n"])
def test_any_text_can_be_a_sid(sid: str) -> None:
    """A sid is arbitrary text (note T13)."""
    assert logout(logout_claims(sid=sid)).sid == sid


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *COMMON,
        ({"sub": GONE, "sid": GONE}, "no_sub_no_sid"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sid": ""}, "sid"),
        ({"sid": 7}, "sid"),
        ({"sid": ["s1"]}, "sid"),
        ({"events": GONE}, "events"),
        ({"events": {}}, "events"),
        ({"events": []}, "events"),
        ({"events": LOGOUT_EVENT}, "events"),
        ({"events": [LOGOUT_EVENT]}, "events"),
        ({"events": {LOGOUT_EVENT.replace("backchannel-logout", "foobar"): {}}}, "events"),
        ({"events": {LOGOUT_EVENT: None}}, "events"),
        ({"events": {LOGOUT_EVENT: []}}, "events"),
        ({"events": {LOGOUT_EVENT: True}}, "events"),
        ({"nonce": NONCE}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"jti": GONE}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
    ],
    ids=str,
)
def test_each_bad_claim_of_a_logout_token_has_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    """One claim wrong, missing or of the wrong type: refused for exactly that (BCL 2.6)."""
    assert reason_of(logout, logout_claims(**changes)) == reason


def test_a_nonce_that_is_null_is_a_nonce() -> None:
    """A logout token must not have the member at all."""
    assert reason_of(logout, {**logout_claims(), "nonce": None}) == "nonce"


def test_an_event_may_have_members() -> None:
    """The event's value is an object, and other events may stand beside it."""
    assert logout(logout_claims(events={LOGOUT_EVENT: {"a": 1}, "https://other": {}}))


@pytest.mark.parametrize(
    ("typ", "lenient", "strict"),
    [
        ("logout+jwt", True, True), ("LOGOUT+JWT", True, True),
        ("application/logout+jwt", True, True), ("Application/Logout+Jwt", True, True),
        (None, True, False), ("JWT", True, False), ("application/jwt", True, False),
        ("at+jwt", False, False), ("id_token+jwt", False, False), ("", False, False),
        (7, False, False), (["logout+jwt"], False, False), ("logout+jwt;x", False, False),
    ],
)  # fmt: skip
def test_types_of_a_logout_token(typ: object, *, lenient: bool, strict: bool) -> None:
    """`logout+jwt` always passes; absent and JWT pass unless it is required; others never."""
    for policy, passes in ((POLICY, lenient), (STRICT, strict)):
        if passes:
            assert logout(logout_claims(), policy, typ=typ)
        else:
            assert reason_of(logout, logout_claims(), policy, typ=typ) == "typ"


def test_tokens_of_one_kind_are_never_taken_for_the_other() -> None:
    """An ID token does not sign anybody out, and a logout token does not sign anybody in."""
    assert reason_of(logout, id_claims(sid="s1", jti="one")) == "events"
    assert reason_of(logout, id_claims(events={LOGOUT_EVENT: {}}, jti="one")) == "nonce"
    assert reason_of(judge, logout_claims(nonce=NONCE)) == "events"


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(
    st.integers(), max_size=2
) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)  # fmt: skip
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nonce", "azp", "nbf", "sid", "auth_time",
                     "at_hash", "acr", "events", "jti"]),
    JSON, min_size=1, max_size=6,
)  # fmt: skip


@given(CLAIMS)
def test_no_claims_of_any_type_make_it_stumble(changes: dict[str, Any]) -> None:
    """Any mixture of claims of any type is believed or refused with a reason."""
    checks: list[Callable[[], Any]] = [
        lambda: judge(id_claims(**changes), access_token=ACCESS, max_age=10, acr_values="a b"),
        lambda: refreshed(id_claims(**changes), access_token=ACCESS),
        lambda: logout(logout_claims(**changes)),
    ]
    for check in checks:
        try:
            found = check()
        except BadTokenError as error:
            assert error.reason.isascii()
        else:
            assert found.sub is None or isinstance(found.sub, str)


@given(st.sampled_from(["iss", "aud", "sub", "nonce"]), st.text(max_size=20))
def test_no_other_text_passes_for_an_identity(name: str, text: str) -> None:
    """Issuer, audience, nonce and a refresh's subject match to the letter or not at all."""
    claims = id_claims()
    if claims[name] == text:
        return
    claims[name] = text
    assert reason_of(refreshed, claims).startswith(name)
    if name != "sub":
        assert reason_of(judge, claims) == name
