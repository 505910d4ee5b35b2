"""Which `iss` is whose: to the letter, but for tenants of Microsoft's and Google's short form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.issuers import (
    accepts_tenant,
    issuer_named,
    key_speaks_for,
    known_issuers,
    published_issuer,
    several_tenants,
    true_issuer,
)
from tests.support.recorded import recorded

MICROSOFT = "https://login.microsoftonline.com"
COMMON = f"{MICROSOFT}/common/v2.0"
ONE = "11111111-2222-3333-4444-555555555555"
LARGE = "AAAAAAAA-2222-3333-4444-555555555555"
TWO = "99999999-2222-3333-4444-555555555555"
TEMPLATE = f"{MICROSOFT}/{{tenantid}}/v2.0"
GOOGLE = "https://accounts.google.com"


def of_tenant(tid: object = ONE, tenant: str = ONE, **more: Any) -> dict[str, Any]:
    """Return the claims of a token of a tenant's."""
    return {"iss": f"{MICROSOFT}/{tenant}/v2.0", "tid": tid, **more}


@pytest.mark.parametrize("name", ["common", "organizations"])
def test_recorded_documents_of_several_tenants_name_what_is_expected(name: str) -> None:
    """The placeholder stands in the issuer of the document."""
    assert published_issuer(f"{MICROSOFT}/{name}/v2.0") == recorded(f"entra-{name}")["issuer"]


@pytest.mark.parametrize(
    "issuer",
    [
        f"{MICROSOFT}/{ONE}/v2.0", f"{MICROSOFT}/common", f"{MICROSOFT}/common/v2.0/",
        f"{MICROSOFT}/common/v1.0", f"{MICROSOFT}/x/common/v2.0", "https://common/v2.0",
        f"{MICROSOFT}/Common/v2.0", GOOGLE,
    ],
)  # fmt: skip
def test_any_other_issuer_is_one_to_the_letter(issuer: str) -> None:
    """Nothing is made of what only looks like it."""
    assert published_issuer(issuer) == issuer
    assert not several_tenants(issuer)
    assert true_issuer({"iss": issuer, "tid": ONE}, issuer) == issuer
    assert true_issuer({"iss": issuer + "/", "tid": ONE}, issuer) is None


def test_a_tenants_token_has_the_tenants_issuer() -> None:
    """`tid` put into the template must give `iss`."""
    assert true_issuer(of_tenant(), COMMON) == f"{MICROSOFT}/{ONE}/v2.0"


@pytest.mark.parametrize(
    "claims",
    [
        of_tenant(tenant=TWO), of_tenant(tid=None), of_tenant(tid=7), of_tenant(tid=[ONE]),
        of_tenant(tid="common", tenant="common"), of_tenant(tid="{tenantid}", tenant="{tenantid}"),
        of_tenant(tid="", tenant=""), of_tenant(tid=LARGE, tenant=LARGE),
        of_tenant(tid=f"{ONE}\n", tenant=f"{ONE}\n"), of_tenant(tid="..", tenant=".."),
        {"tid": ONE}, {"iss": [f"{MICROSOFT}/{ONE}/v2.0"], "tid": ONE},
        {"iss": COMMON, "tid": ONE}, {"iss": TEMPLATE, "tid": ONE},
        {"iss": f"https://evil.example/{ONE}/v2.0", "tid": ONE},
    ],
)  # fmt: skip
def test_a_token_whose_tenant_is_none_or_another_is_nobodys(claims: dict[str, Any]) -> None:
    """A `tid` that is no GUID, or not the one in `iss`."""
    assert true_issuer(claims, COMMON) is None


def test_only_listed_tenants_are_accepted() -> None:
    """Deny by default; `*` is any of them; issuers of one tenant are not asked."""
    assert accepts_tenant(of_tenant(), COMMON, frozenset({ONE}))
    assert accepts_tenant(of_tenant(), COMMON, frozenset({"*"}))
    assert not accepts_tenant(of_tenant(), COMMON, frozenset({TWO}))
    assert not accepts_tenant(of_tenant(), COMMON, frozenset())
    assert not accepts_tenant(of_tenant(tid=[ONE]), COMMON, frozenset({ONE}))
    assert accepts_tenant({}, GOOGLE, frozenset())


def test_googles_short_form_is_googles_alone() -> None:
    """`accounts.google.com` is the issuer with its scheme; nobody else's host is."""
    assert true_issuer({"iss": "accounts.google.com"}, GOOGLE) == GOOGLE
    assert true_issuer({"iss": GOOGLE}, GOOGLE) == GOOGLE
    assert true_issuer({"iss": "http://accounts.google.com"}, GOOGLE) is None
    assert true_issuer({"iss": "id.example"}, "https://id.example") is None
    assert true_issuer({"iss": "accounts.google.com"}, GOOGLE + "/") is None


def test_an_issuer_is_found_by_its_name() -> None:
    """As logout tokens, front-channel logouts and started logins name it."""
    listed = frozenset({ONE})
    tenants_own = f"{MICROSOFT}/{ONE}/v2.0"
    assert issuer_named(tenants_own, COMMON, listed) == tenants_own
    assert issuer_named(f"{MICROSOFT}/{TWO}/v2.0", COMMON, listed) is None
    assert issuer_named(f"{MICROSOFT}/{TWO}/v2.0", COMMON, frozenset({"*"})) is not None
    assert issuer_named(COMMON, COMMON, listed) is None
    assert issuer_named("accounts.google.com", GOOGLE, frozenset()) == GOOGLE
    for stranger in (None, 7, [GOOGLE], "", "https://evil.example"):
        assert issuer_named(stranger, GOOGLE, frozenset()) is None


@pytest.mark.parametrize(
    ("key_issuer", "fits"),
    [(None, True), (TEMPLATE, True), (f"{MICROSOFT}/{ONE}/v2.0", True),
     (f"{MICROSOFT}/{TWO}/v2.0", False), (COMMON, False), ("", False)],
)  # fmt: skip
def test_a_key_signs_for_its_own_tenants(key_issuer: str | None, *, fits: bool) -> None:
    """A key of one tenant signs nothing of another's."""
    assert key_speaks_for(key_issuer, of_tenant()) is fits


def test_what_is_known_beforehand() -> None:
    """Each listed tenant's issuer; of any tenant none can be told."""
    assert known_issuers(GOOGLE, ()) == [GOOGLE]
    assert known_issuers(COMMON, {TWO, ONE, "*"}) == [f"{MICROSOFT}/{t}/v2.0" for t in (ONE, TWO)]
    assert known_issuers(COMMON, {"*"}) == []


@given(st.dictionaries(st.sampled_from(["iss", "tid"]), st.text() | st.integers() | st.none()))
def test_whatever_a_token_says_only_its_own_issuer_is_found(claims: dict[str, Any]) -> None:
    """None, or exactly what `iss` says."""
    for issuer in (COMMON, GOOGLE, "https://id.example"):
        found = true_issuer(claims, issuer)
        assert found is None or found == claims["iss"]
        assert issuer_named(claims.get("iss"), issuer, frozenset({"*"})) in {
            None,
            claims.get("iss"),
        }
