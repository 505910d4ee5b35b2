"""Tokens of providers with several tenants, their keys, and claims that a token must have."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.oidc.keys import BadTokenError, UnknownKeyError, Verified, import_keys, verify
from bff.oidc.tokens import (
    IdToken,
    Policy,
    check_id_token,
    check_logout_token,
    check_refreshed_id_token,
)
from tests.support.jose import CLIENT_ID, NOW, id_claims, jwk, logout_claims, rsa, sign
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import ScriptedProvider

MICROSOFT = "https://login.microsoftonline.com"
COMMON = f"{MICROSOFT}/common/v2.0"
OURS = "11111111-2222-3333-4444-555555555555"
THEIRS = "99999999-2222-3333-4444-555555555555"
GOOGLE = "https://accounts.google.com"


def issuer_of(tenant: str) -> str:
    """Return the issuer of a tenant."""
    return f"{MICROSOFT}/{tenant}/v2.0"


def policy(tenant: str = OURS, issuer: str = COMMON, **more: Any) -> Policy:
    """Return whose tokens are accepted."""
    return Policy(issuer, CLIENT_ID, "RS256", 30.0, tenants=frozenset({tenant}), **more)


def judged(accepted: Policy, **claims: Any) -> IdToken:
    """Judge an ID token."""
    token = Verified({"alg": "RS256"}, id_claims(**claims), "raw")
    return check_id_token(token, accepted, NOW, nonce="n-0S6_WzA2Mj")


def test_a_user_of_our_tenant_is_known_by_its_issuer() -> None:
    """The session and its logout are found by the tenant's own issuer."""
    assert judged(policy(), iss=issuer_of(OURS), tid=OURS).iss == issuer_of(OURS)
    assert judged(policy("*"), iss=issuer_of(THEIRS), tid=THEIRS).iss == issuer_of(THEIRS)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": issuer_of(THEIRS), "tid": THEIRS}, "tenant"),
        ({"iss": issuer_of(OURS), "tid": THEIRS}, "iss"),
        ({"iss": issuer_of(THEIRS), "tid": OURS}, "iss"),
        ({"iss": issuer_of(OURS)}, "iss"),
        ({"iss": COMMON, "tid": OURS}, "iss"),
        ({"iss": f"{MICROSOFT}/{{tenantid}}/v2.0", "tid": "{tenantid}"}, "iss"),
    ],
)
def test_other_tenants_are_refused(claims: dict[str, Any], reason: str) -> None:
    """By `tid` and `iss` together: neither alone says whose user this is."""
    with pytest.raises(BadTokenError, match=f"^{reason}$"):
        judged(policy(), **claims)


def test_a_refresh_does_not_change_the_tenant() -> None:
    """Nor may a logout token be of a tenant that is not ours."""
    before = id_claims(iss=issuer_of(OURS), tid=OURS, nonce=None)
    after = id_claims(iss=issuer_of(THEIRS), tid=THEIRS, nonce=None)
    options: dict[str, Any] = {"sub": "alice", "login_claims": before}
    same = Verified({"alg": "RS256"}, before, "raw")
    assert check_refreshed_id_token(same, policy("*"), NOW, **options).iss == issuer_of(OURS)
    with pytest.raises(BadTokenError, match=r"^tid_changed$"):
        check_refreshed_id_token(
            Verified({"alg": "RS256"}, after, "raw"), policy("*"), NOW, **options
        )


def test_a_logout_token_names_the_tenant_too() -> None:
    """Its sessions are found by the tenant's issuer."""
    claims = logout_claims(iss=issuer_of(OURS), tid=OURS)
    token = Verified({"alg": "RS256"}, claims, "raw")
    assert check_logout_token(token, policy(), NOW).iss == issuer_of(OURS)
    with pytest.raises(BadTokenError, match=r"^tenant$"):
        check_logout_token(token, policy(THEIRS), NOW)


@pytest.mark.parametrize(("tenant", "warned"), [("*", True), (OURS, False)])
async def test_any_tenant_is_warned_of(
    scripted: ScriptedProvider, make_provider: MakeProvider, tenant: str, *, warned: bool
) -> None:
    """At each start; tenants that are listed are nothing to warn of."""
    provider = make_provider(policy=policy(tenant, f"{scripted.issuer}/common/v2.0"))
    with capture_logs() as lines:
        provider.start()
    assert [line["event"] for line in lines] == ["provider.any_tenant"] * warned
    assert all(line["log_level"] == "warning" for line in lines)


def test_googles_short_issuer_is_the_same_user() -> None:
    """Sessions of both forms are found by one issuer."""
    for iss in ("accounts.google.com", GOOGLE):
        assert judged(Policy(GOOGLE, CLIENT_ID, "RS256", 30.0), iss=iss).iss == GOOGLE
    with pytest.raises(BadTokenError, match=r"^iss$"):
        judged(Policy("https://id.example", CLIENT_ID, "RS256", 30.0), iss="id.example")


@pytest.mark.parametrize(
    ("claims", "fits"),
    [
        ({"hd": "example.com"}, True), ({"hd": ["x", "example.org"]}, True), ({}, False),
        ({"hd": "evil.example"}, False), ({"hd": None}, False), ({"hd": True}, False),
        ({"hd": "example.com.evil.example"}, False), ({"hd": []}, False),
    ],
)  # fmt: skip
def test_required_claims_are_required(claims: dict[str, Any], *, fits: bool) -> None:
    """One of the values, as it is; a claim that is not there has none."""
    required = {"hd": ("example.com", "example.org")}
    accepted = Policy(GOOGLE, CLIENT_ID, "RS256", 30.0, required_claims=required)
    if fits:
        assert judged(accepted, iss=GOOGLE, **claims).sub == "alice"
    else:
        with pytest.raises(BadTokenError, match=r"^required_claim$"):
            judged(accepted, iss=GOOGLE, **claims)


@pytest.mark.parametrize(
    ("key_issuer", "fits"),
    [
        (f"{MICROSOFT}/{{tenantid}}/v2.0", True), (issuer_of(OURS), True),
        (issuer_of(THEIRS), False), (None, True),
    ],
)  # fmt: skip
def test_a_key_signs_only_for_the_issuer_that_it_names(
    key_issuer: str | None, *, fits: bool
) -> None:
    """A shared key set holds keys of several tenants; that of another tenant proves nothing."""
    members = {} if key_issuer is None else {"issuer": key_issuer}
    keys, _ = import_keys({"keys": [jwk(rsa(), kid="one", **members)]})
    token = sign(id_claims(iss=issuer_of(OURS), tid=OURS), kid="one")
    if fits:
        assert verify(token, "RS256", keys).claims["tid"] == OURS
    else:
        with pytest.raises(UnknownKeyError, match=r"^key_issuer$"):
            verify(token, "RS256", keys)


def test_the_same_key_for_two_tenants_serves_both() -> None:
    """One entry that is not for this tenant hides no other."""
    members = [jwk(rsa(), kid="one", issuer=issuer_of(tenant)) for tenant in (THEIRS, OURS)]
    keys, skipped = import_keys({"keys": [*members, jwk(rsa(), kid="odd", issuer=7)]})
    assert (len(keys), skipped) == (2, 1)
    token = sign(id_claims(iss=issuer_of(OURS), tid=OURS), kid="one")
    assert verify(token, "RS256", keys).claims["tid"] == OURS
