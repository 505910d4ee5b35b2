"""What a provider publishes about itself: used, ignored, or refused as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.metadata import (
    OPTIONAL,
    REQUIRED,
    BadMetadataError,
    discovery_url,
    judge_metadata,
)

ISSUER = "https://login.example.com/"


def document(issuer: str = ISSUER, **changes: object) -> dict[str, Any]:
    """Return a proper discovery document; None takes a member away."""
    members = {
        "issuer": issuer,
        "authorization_endpoint": "https://login.example.com/authorize?tenant=1",
        "token_endpoint": "https://login.example.com/token",
        "jwks_uri": "https://keys.example.net/jwks",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://a.example", "https://a.example/.well-known/openid-configuration"),
        ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
        ("https://a.example/t/1", "https://a.example/t/1/.well-known/openid-configuration"),
        ("https://a.example/t/1/", "https://a.example/t/1/.well-known/openid-configuration"),
        ("https://a.example//", "https://a.example//.well-known/openid-configuration"),
    ],
)
def test_where_the_document_is(issuer: str, url: str) -> None:
    """One trailing slash is dropped, and the well-known path appended (OIDC Discovery 4)."""
    assert discovery_url(issuer) == url


def test_a_small_document_is_enough() -> None:
    """Three endpoints are required; the rest is then not there, and Basic is the default."""
    found = judge_metadata(document(), ISSUER)
    assert found.issuer == ISSUER
    assert found.authorization_endpoint == "https://login.example.com/authorize?tenant=1"
    assert found.token_endpoint == "https://login.example.com/token"
    assert found.jwks_uri == "https://keys.example.net/jwks"
    assert [getattr(found, name) for name in OPTIONAL] == [None] * len(OPTIONAL)
    assert found.token_endpoint_auth_methods == {"client_secret_basic"}
    assert not found.promises_iss
    assert found.ignored == ()


def test_what_is_offered_is_taken() -> None:
    """Optional endpoints, authentication methods and the promise of `iss` are read."""
    offered = {name: f"https://login.example.com/{name}" for name in OPTIONAL}
    found = judge_metadata(
        document(
            **offered,
            token_endpoint_auth_methods_supported=["client_secret_post", 7, "none"],
            authorization_response_iss_parameter_supported=True,
            id_token_signing_alg_values_supported=["none"],
        ),
        ISSUER,
    )
    assert {name: getattr(found, name) for name in OPTIONAL} == offered
    assert found.token_endpoint_auth_methods == {"client_secret_post", "none"}
    assert found.promises_iss


@pytest.mark.parametrize("promise", ["true", 1, None, [True], False])
def test_only_true_is_a_promise(promise: object) -> None:
    """A member of another type promises nothing."""
    found = judge_metadata(document(authorization_response_iss_parameter_supported=promise), ISSUER)
    assert not found.promises_iss


@pytest.mark.parametrize("methods", ["client_secret_post", {"client_secret_post": 1}, 7])
def test_methods_that_are_no_list_are_the_default(methods: object) -> None:
    """A malformed list of methods is as if it were not there."""
    found = judge_metadata(document(token_endpoint_auth_methods_supported=methods), ISSUER)
    assert found.token_endpoint_auth_methods == {"client_secret_basic"}


@pytest.mark.parametrize(
    "issuer",
    [ISSUER + "INVALID", ISSUER.rstrip("/"), ISSUER + "/", ISSUER.upper(), None, 7, [ISSUER],
     "https://login.example.com:443/"],
)  # fmt: skip
def test_another_issuer_is_refused(issuer: Any) -> None:
    """The issuer must be the configured one to the letter (RFC 8414 3.3, note T9)."""
    with pytest.raises(BadMetadataError, match="issuer_mismatch"):
        judge_metadata(document(issuer), ISSUER)


BAD_URLS: list[Any] = [
    7, [], "", "/token", "token", "http://login.example.com/token", "HTTP://login.example.com",
    "ftp://login.example.com", "javascript:alert(1)", "https:///token", "https://",
    "https://user@login.example.com/token", "https://a:b@login.example.com/token",
    "https://login.example.com/token#x", "https://login.example.com/token#",
    "https://login.example.com\\@evil.example/", "https://login.example.com/a b",
    "https://login.example.com/\ttoken", "https://login.example.com:99999/", "https://[::1/",
    "https://login.\u00e9xample.com/", " https://login.example.com/", "//login.example.com/x",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS, ids=str)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_bad_required_endpoint_refuses_the_document(name: str, url: Any) -> None:
    """Each of the three must be an absolute https URL without user or fragment."""
    with pytest.raises(BadMetadataError) as caught:
        judge_metadata(document(**{name: url}), ISSUER)
    assert caught.value.reason == f"bad_{name}"


def without(name: str) -> dict[str, Any]:
    """Return a proper document that lacks one member."""
    return {key: value for key, value in document().items() if key != name}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_endpoint_must_be_there(name: str) -> None:
    """A document without one of the three cannot be used."""
    with pytest.raises(BadMetadataError, match=f"bad_{name}"):
        judge_metadata(without(name), ISSUER)


@pytest.mark.parametrize("url", BAD_URLS, ids=str)
def test_a_bad_optional_endpoint_is_as_if_it_were_not_there(url: Any) -> None:
    """It is left out and named, and everything else is used."""
    found = judge_metadata(document(userinfo_endpoint=url), ISSUER)
    assert found.userinfo_endpoint is None
    assert found.ignored == ("userinfo_endpoint",)


def test_plain_http_is_for_issuers_on_loopback() -> None:
    """An issuer that is reached by http itself may have such endpoints; nobody else may."""
    plain = "http://127.0.0.1:8081"
    members = {name: f"{plain}/{name}" for name in REQUIRED}
    assert judge_metadata(document(plain, **members), plain).token_endpoint.startswith(plain)
    with pytest.raises(BadMetadataError):
        judge_metadata(document(**members), ISSUER)


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*REQUIRED, *OPTIONAL, "issuer"]), JSON))
def test_no_document_makes_it_stumble(changes: dict[str, Any]) -> None:
    """Members of any type are judged; what is used is https and absolute."""
    try:
        found = judge_metadata({**document(), **changes}, ISSUER)
    except BadMetadataError:
        return
    for name in (*REQUIRED, *OPTIONAL):
        value = getattr(found, name)
        assert value is None or value.startswith("https://")


ALIASES = {
    "token_endpoint": "https://mtls.example.com/token",
    "revocation_endpoint": "https://mtls.example.com/revoke",
    "pushed_authorization_request_endpoint": "https://mtls.example.com/par",
    "userinfo_endpoint": "https://mtls.example.com/userinfo",
    "authorization_endpoint": "https://mtls.example.com/authorize",
    "jwks_uri": "https://mtls.example.com/jwks",
}


def test_a_client_with_a_certificate_uses_the_aliases() -> None:
    """oidcc-client-test-mtls-endpoint-aliases: they replace what we call ourselves (RFC 8705 5)."""
    plain = judge_metadata(document(mtls_endpoint_aliases=ALIASES), ISSUER)
    assert "mtls" not in repr(plain)
    found = judge_metadata(document(mtls_endpoint_aliases=ALIASES), ISSUER, mtls=True)
    assert found.token_endpoint == ALIASES["token_endpoint"]
    assert found.revocation_endpoint == ALIASES["revocation_endpoint"]
    assert found.userinfo_endpoint == ALIASES["userinfo_endpoint"]
    assert found.pushed_authorization_request_endpoint == "https://mtls.example.com/par"
    assert (found.authorization_endpoint, found.jwks_uri) == (
        plain.authorization_endpoint, plain.jwks_uri,
    )  # fmt: skip


@pytest.mark.parametrize("aliases", [None, {}, [], "x", 7, {"token_endpoint": None}])
def test_without_aliases_the_ordinary_endpoints_are_used(aliases: object) -> None:
    """Many providers speak mTLS at their only endpoints."""
    found = judge_metadata(document(mtls_endpoint_aliases=aliases), ISSUER, mtls=True)
    assert found == judge_metadata(document(), ISSUER)


def test_a_bad_alias_is_not_passed_over() -> None:
    """Falling back would send the client where its certificate does not count."""
    bad = {"token_endpoint": "http://mtls.example.com/token"}
    with pytest.raises(BadMetadataError, match="bad_token_endpoint"):
        judge_metadata(document(mtls_endpoint_aliases=bad), ISSUER, mtls=True)


def test_demanded_pushed_requests_need_an_endpoint() -> None:
    """A request is never sent openly to a provider that demands PAR (RFC 9126 5)."""
    demand: dict[str, object] = {"require_pushed_authorization_requests": True}
    for endpoint in (None, "http://login.example.com/par", 7):
        with pytest.raises(BadMetadataError, match="no_pushed_authorization_request_endpoint"):
            judge_metadata(
                document() | demand | {"pushed_authorization_request_endpoint": endpoint}, ISSUER
            )
    good = document(pushed_authorization_request_endpoint="https://login.example.com/par")
    assert judge_metadata(good | demand, ISSUER).pushed_authorization_request_endpoint is not None


@pytest.mark.parametrize(("demand", "found"), [(True, True), (False, False), ("true", False)])
def test_demanded_request_objects_are_seen(demand: object, *, found: bool) -> None:
    """`require_signed_request_object` (RFC 9101 10.5)."""
    metadata = judge_metadata(document(require_signed_request_object=demand), ISSUER)
    assert metadata.demands_request_object is found
