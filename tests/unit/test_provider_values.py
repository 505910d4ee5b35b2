"""Settings for what is peculiar to some providers: read, and refused with what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.configuration import read_configuration
from bff.faults import ConfigurationError
from bff.provider_values import (
    PLACEHOLDERS,
    PlainOAuth2,
    filled,
    parse_logout_params,
    parse_plain_oauth2,
    parse_required_claims,
    parse_tenants,
)
from bff.settings import Settings

TENANT = "11111111-2222-3333-4444-555555555555"
COMMON = "https://login.microsoftonline.com/common/v2.0"
GITHUB: dict[str, Any] = {
    "authorization_endpoint": "https://github.com/login/oauth/authorize",
    "token_endpoint": "https://github.com/login/oauth/access_token",
    "userinfo_endpoint": "https://api.github.com/user",
    "subject": "id",
}
NEEDED = {
    "base_url": "https://app.example.com", "issuer": "https://login.example.com",
    "client_id": "app", "client_secret": "hush", "secret": "x" * 40, "redis_url": "redis://redis",
}  # fmt: skip


def load(**values: Any) -> Settings:
    """Return a configuration that is complete but for what a test is about."""
    return Settings.load(None, **{**NEEDED, **values})


def faults(**values: Any) -> dict[str, str]:
    """Return what is wrong with it, by variable."""
    with pytest.raises(ConfigurationError) as caught:
        load(**values)
    assert all(fault.example for fault in caught.value.faults)
    return {fault.variable: fault.problem for fault in caught.value.faults}


def test_tenants_are_ids() -> None:
    """In small letters, as tokens have them; names and domains could change hands."""
    assert parse_tenants(f'["{TENANT.replace("5", "A")}", "*"]') == {TENANT.replace("5", "a"), "*"}
    for bad in ('["contoso.onmicrosoft.com"]', f'["{TENANT}/"]', '["common"]', f'"{TENANT}"'):
        with pytest.raises(ValueError, match=r"^must"):
            parse_tenants(bad)


def test_several_tenants_need_a_list_and_one_needs_none() -> None:
    """Who may sign in is said before the port opens."""
    assert load(issuer=COMMON, tenants=[TENANT]).tenants == {TENANT}
    assert "is required" in faults(issuer=COMMON)["BFF_TENANTS"]
    assert "is for the issuers" in faults(tenants=[TENANT])["BFF_TENANTS"]
    assert faults(issuer="ftp://x", tenants=[TENANT]).keys() == {"BFF_ISSUER"}


def test_required_claims_name_their_values() -> None:
    """One value or a list of them."""
    assert parse_required_claims('{"hd": "a.example", "n": [1, true]}') == {
        "hd": ("a.example",),
        "n": (1, True),
    }
    for bad in ('{"hd": null}', '{"hd": []}', '{"hd": {"a": 1}}', '{"hd": [[1]]}', "[]"):
        with pytest.raises(ValueError, match=r"^must"):
            parse_required_claims(bad)


def test_the_sign_outs_parameters_are_filled_in() -> None:
    """Each placeholder once, and what is then empty is left out."""
    params = parse_logout_params('{"a": "x{client_id}{{", "b": "{sid}", "c": "fixed"}')
    assert params is not None
    assert filled(params, {"client_id": "{state}", "sid": None}) == {"a": "x{state}{", "c": "fixed"}


@pytest.mark.parametrize(
    "text",
    ["{", "}", "{}", "{0}", "{secret}", "{client_id!r}", "{client_id:>9}", "{client_id.x}",
     "{client_id[0]}", "{client_id:{sid}}"],
)  # fmt: skip
def test_what_is_no_placeholder_is_refused(text: str) -> None:
    """No format but the name, and no name but those known."""
    with pytest.raises(ValueError, match="a has a placeholder that is none of"):
        parse_logout_params({"a": text})


@given(st.text())
def test_any_parameter_is_refused_or_can_be_filled(text: str) -> None:
    """What passes the check makes no trouble at a sign-out."""
    try:
        parse_logout_params({"a": text})
    except ValueError:
        return
    filled({"a": text}, dict.fromkeys(PLACEHOLDERS, "value"))


@pytest.mark.parametrize("params", ["[]", '{"a": 1}', '{"": "x"}', "{"])
def test_the_sign_outs_parameters_are_an_object_of_strings(params: str) -> None:
    """Anything else is a fault."""
    assert "BFF_LOGOUT_PARAMS" in faults(logout_params=params)


@pytest.mark.parametrize("url", ["http://id.example/out", "id.example", "https://id.example/#x"])
def test_the_sign_outs_address_is_https(url: str) -> None:
    """As any endpoint."""
    assert "BFF_END_SESSION_ENDPOINT" in faults(end_session_endpoint=url)


def test_a_provider_without_id_tokens_is_read() -> None:
    """No scope by default, since `openid` is none of its."""
    found = load(oauth2_without_id_token=json.dumps({**GITHUB, "claims": ["login"]}))
    assert found.oauth2_without_id_token == PlainOAuth2(**GITHUB, claims=("login",))
    assert found.scopes == ()
    assert load(oauth2_without_id_token=GITHUB, scopes="read:user").scopes == ("read:user",)
    assert "BFF_SCOPES" in faults(scopes="read:user")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"subject": ""}, "must have subject"),
        ({"token_endpoint": None}, "must have token_endpoint"),
        ({"token_endpoint": "http://github.com/x"}, "token_endpoint must be https"),
        ({"jwks_uri": "https://github.com/keys"}, "jwks_uri: there is no such member"),
        ({"claims": "login"}, "claims must be a list"),
        ({"claims": [1]}, "claims must be a list"),
        ({"claims": ["acr"]}, "claims may not have acr"),
    ],
)
def test_a_provider_without_id_tokens_must_be_whole(changes: Any, problem: str) -> None:
    """Three endpoints and what names the user; and nothing that it cannot say."""
    with pytest.raises(ValueError, match=f"^{problem}"):
        parse_plain_oauth2({**GITHUB, **changes})


def test_signed_answers_need_keys() -> None:
    """And without OpenID Connect there are none."""
    found = faults(oauth2_without_id_token=GITHUB, response_mode="jwt")
    assert "has none" in found["BFF_RESPONSE_MODE"]


@pytest.mark.parametrize("plain_first", [True, False])
def test_the_name_of_such_a_provider_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, *, plain_first: bool
) -> None:
    """People are known by issuer and subject: two numberings must not share an issuer."""
    monkeypatch.chdir(tmp_path)
    entry: dict[str, Any] = {"client_id": "x", "client_secret": "y", "issuer": NEEDED["issuer"]}
    if plain_first:
        monkeypatch.setenv("BFF_OAUTH2_WITHOUT_ID_TOKEN", json.dumps(GITHUB))
    else:
        entry["oauth2_without_id_token"] = GITHUB
    for name, value in {**NEEDED, "providers": json.dumps({"other": entry})}.items():
        monkeypatch.setenv(f"BFF_{name.upper()}", value)
    with pytest.raises(ConfigurationError) as caught:
        read_configuration()
    assert [fault.variable for fault in caught.value.faults] == ["BFF_PROVIDERS"]
    assert "of one provider only" in caught.value.faults[0].problem
