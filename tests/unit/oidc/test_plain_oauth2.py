"""Who a user is where there is no ID token: what the API says, or nobody."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import ProviderUnavailableError
from bff.oidc.authorization import BadOptionError, Options
from bff.oidc.grants import InvalidGrantError, RefusedError, judge_answer, plain_grant
from bff.oidc.keys import BadTokenError
from bff.oidc.plain_oauth2 import check_askable, identify, plain_request, subject
from bff.oidc.token_endpoint import exchange
from bff.oidc.tokens import Policy
from bff.provider_values import PlainOAuth2
from tests.support import jose
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import DISCOVERY, Answer, ScriptedProvider


def plain_of(scripted: ScriptedProvider) -> PlainOAuth2:
    """Return a scripted provider as one that has no discovery."""
    return PlainOAuth2(
        scripted.url("/authorize"), scripted.url("/token"), scripted.url("/user"),
        subject="id", claims=("login", "email", "sub"),
    )  # fmt: skip


async def test_the_api_says_who_the_user_is(
    scripted: ScriptedProvider, make_provider: MakeProvider
) -> None:
    """Its number as text, and of the rest what is to be kept; nothing else is asked for."""
    plain = plain_of(scripted)
    provider = make_provider(oauth2_without_id_token=plain)
    scripted.answers["/user"] = Answer(
        body={"id": 583231, "login": "octocat", "email": None, "plan": {}, "sub": "no"}
    )
    found = await identify(provider, plain, "gho_token", 1000.0)
    assert (found.sub, found.sid, found.iss, found.raw) == ("583231", None, scripted.issuer, "")
    assert found.claims == {"sub": "583231", "login": "octocat"}
    asked = scripted.last("/user")
    assert asked.headers["authorization"] == "Bearer gho_token"
    assert asked.headers["user-agent"] == "bff"
    assert provider.known
    assert scripted.times(DISCOVERY) == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(401, {"message": "Bad credentials"}), "userinfo_401"),
        (Answer(403, {}), "userinfo_403"),
        (Answer(304, b""), "userinfo_304"),
        (Answer(body=b"id=1"), "userinfo_not_json"),
        (Answer(body=[{"id": 1}]), "userinfo_not_json"),
        (Answer(body={"login": "octocat"}), "userinfo_sub"),
        (Answer(body={"id": 1, "team": "b"}), "required_claim"),
    ],
)
async def test_without_a_clear_answer_there_is_nobody(
    scripted: ScriptedProvider, make_provider: MakeProvider, answer: Answer, reason: str
) -> None:
    """And so no session."""
    plain = plain_of(scripted)
    policy = Policy(scripted.issuer, "my-spa", "RS256", 30.0, required_claims={"team": ("a",)})
    provider = make_provider(oauth2_without_id_token=plain, policy=policy)
    scripted.answers["/user"] = answer
    with pytest.raises(BadTokenError, match=f"^{reason}$"):
        await identify(provider, plain, "token", 1000.0)


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_api_that_is_down_is_no_refusal(
    scripted: ScriptedProvider, make_provider: MakeProvider, status: int
) -> None:
    """The user may try again."""
    plain = plain_of(scripted)
    scripted.answers["/user"] = Answer(status, {})
    with pytest.raises(ProviderUnavailableError, match=f"userinfo_{status}"):
        await identify(make_provider(oauth2_without_id_token=plain), plain, "token", 1000.0)


async def test_no_token_of_such_a_provider_is_believed(
    scripted: ScriptedProvider, make_provider: MakeProvider
) -> None:
    """It has no keys: a logout token or an ID token in its name is from somebody else."""
    provider = make_provider(oauth2_without_id_token=plain_of(scripted))
    with pytest.raises(BadTokenError, match="no_keys"):
        await provider.verified(jose.sign(jose.id_claims(), kid="one"))
    assert not scripted.asked


async def test_its_grant_holds_no_id_token(
    scripted: ScriptedProvider, make_provider: MakeProvider
) -> None:
    """One that comes all the same is dropped; scopes may have commas; the secret is in the form."""
    provider = make_provider(oauth2_without_id_token=plain_of(scripted))
    scripted.answers["/token"] = Answer(
        body={
            "access_token": "a",
            "token_type": "bearer",
            "scope": "repo,gist",
            "id_token": "x.y.z",
        }
    )
    grant = await exchange(provider, "code", "verifier", "https://app.example.com/bff/callback")
    assert grant.id_token is None
    assert grant.scope == frozenset({"repo", "gist"})
    form = scripted.last("/token").form
    assert form["client_secret"]
    assert form["code_verifier"] == "verifier"
    unsaid = judge_answer(200, b'{"access_token": "a", "token_type": "bearer"}')
    assert plain_grant(unsaid).scope is None


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        ("bad_verification_code", InvalidGrantError, "invalid_grant"),
        ("bad_refresh_token", InvalidGrantError, "invalid_grant"),
        ("incorrect_client_credentials", RefusedError, "invalid_client"),
        ("redirect_uri_mismatch", RefusedError, "other_error"),
    ],
)
def test_errors_with_status_200_are_errors(error: str, kind: type[Exception], reason: str) -> None:
    """GitHub's words for what RFC 6749 names: a refresh token that is over ends the session."""
    with pytest.raises(kind, match=f"^{reason}$"):
        judge_answer(200, f'{{"error": "{error}"}}'.encode())


def test_the_request_is_one_of_oauth_2() -> None:
    """No `nonce`, no empty scope; `state` and PKCE stay."""
    sent = plain_request({"nonce": "n", "scope": "", "state": "s", "code_challenge": "c"})
    assert sent == {"state": "s", "code_challenge": "c"}


@pytest.mark.parametrize(
    "query",
    [{"max_age": "0"}, {"acr_values": "gold"}, {"silent": "true"},
     {"claims": '{"id_token": {"acr": {"essential": true}}}'}],
)  # fmt: skip
def test_nothing_is_asked_that_no_answer_could_prove(query: dict[str, str]) -> None:
    """A step-up would end with a session that only claims to be stepped up."""
    check_askable(Options.parse({"prompt": "select_account", "login_hint": "octocat"}))
    with pytest.raises(BadOptionError):
        check_askable(Options.parse(query))


@pytest.mark.parametrize("value", [None, True, 0, -1, 2**63, 1.5, "", "x" * 256, [1], {"id": 1}])
def test_what_cannot_name_a_user_is_refused(value: Any) -> None:
    """No truth value, no fraction, nothing empty or endless."""
    with pytest.raises(BadTokenError, match="userinfo_sub"):
        subject(value)


@given(st.integers(1, 2**63 - 1))
def test_a_number_names_one_user(number: int) -> None:
    """And no two numbers name the same."""
    assert int(subject(number)) == number
