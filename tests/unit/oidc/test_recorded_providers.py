"""How documents that providers really published are judged, and what is used of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bff.configuration import registration_of
from bff.doctor.findings import Finding, Grade
from bff.doctor.provider import client_findings, feature_findings
from bff.oidc.jarm import JWT_MODES
from bff.oidc.metadata import BadMetadataError, Metadata, judge_metadata
from bff.oidc.provider import Provider
from bff.oidc.registration import Registration
from bff.settings import Settings
from tests.support.recorded import NAMES, recorded

TENANT = "11111111-2222-3333-4444-555555555555"
SEVERAL = {"entra-common": "common", "entra-organizations": "organizations"}
# What of each is used with a client secret. P: pushed requests. I: `iss` is promised, so missed.
# U: userinfo. R: revocation. S: sign-out there. B: back-channel logout.
USED = {
    "apple": "R", "auth0": "URSB", "authentik": "URSB", "cognito": "U", "dex": "U",
    "duende-demo": "IURSB", "entra-common": "US", "entra-organizations": "US",
    "entra-tenant": "US", "gitlab": "UR", "google": "UR", "keycloak": "PIURSB", "linkedin": "U",
    "okta-custom": "PURS", "okta-org": "PURS", "onelogin": "URS", "ory-hydra": "RSB",
    "ory-network": "URSB", "pingfederate": "URS", "pingone": "URS", "salesforce": "UR",
    "slack": "U", "zitadel": "URS",
}  # fmt: skip
LETTERS = {
    "P": "pushed requests", "I": "issuer in answers", "U": "userinfo", "R": "revocation",
    "S": "sign-out there", "B": "back-channel logout",
}  # fmt: skip
# The secret goes by Basic, but where only the form is offered.
BY_FORM = {"apple"}
WITHOUT_RS256 = {"ory-hydra": "ES256"}
# Those that list `offline_access`: without it in BFF_SCOPES `bff check` warns.
OFFLINE = {
    "auth0", "dex", "duende-demo", "entra-common", "entra-organizations",
    "entra-tenant", "keycloak", "okta-custom", "okta-org", "ory-hydra", "ory-network",
    "pingfederate", "salesforce", "zitadel",
}  # fmt: skip


def settings(name: str, **values: Any) -> Settings:
    """Return a configuration for a recorded provider."""
    document = recorded(name)
    needed: dict[str, Any] = {
        "base_url": "https://app.example.com", "issuer": document["issuer"], "client_id": "app",
        "client_secret": "hush", "secret": "x" * 40, "redis_url": "redis://redis",
    }  # fmt: skip
    if name in SEVERAL:
        needed["issuer"] = f"https://login.microsoftonline.com/{SEVERAL[name]}/v2.0"
        needed["tenants"] = [TENANT]
    return Settings.load(None, **{**needed, **values})


Make = Callable[..., tuple[Provider, Metadata]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """A function that returns our side of a recorded provider, and what its document became."""
    made: list[Provider] = []

    def make(name: str, **values: Any) -> tuple[Provider, Metadata]:
        provider = Provider(registration_of(settings(name, **values)))
        made.append(provider)
        return provider, provider.judged(recorded(name))

    yield make
    for provider in made:
        await provider.aclose()


def features(name: str, registration: Registration, metadata: Metadata) -> dict[str, Finding]:
    """Return what `bff check` says of it."""
    found = feature_findings(registration, metadata, recorded(name))
    return {finding.subject: finding for finding in found}


def test_every_recorded_document_is_judged() -> None:
    """The table leaves none out."""
    assert sorted(USED) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_used_of_each(make: Make, name: str) -> None:
    """All can be used; optional endpoints where they are, nothing where they are not.

    The secret goes by Basic wherever that is offered or nothing is said. `offline_access` is spoken
    of where it is listed and not asked for.
    """
    provider, metadata = make(name)
    found = features(name, provider.registration, metadata)
    used = "".join(sign for sign, what in LETTERS.items() if found[what].grade is Grade.GOOD)
    assert used == USED[name]
    assert metadata.ignored == (("userinfo_endpoint",) if name == "ory-hydra" else ())
    assert not metadata.demands_request_object
    method = provider.client_auth_method(metadata)
    assert method == ("client_secret_post" if name in BY_FORM else "client_secret_basic")
    assert [finding.grade for finding in client_findings(provider, metadata)] == [Grade.GOOD]
    assert (found["scopes"].grade is Grade.WARNING) is (name in OFFLINE)
    asking = replace(provider.registration, scopes=("openid", "offline_access"))
    assert features(name, asking, metadata)["scopes"].grade is Grade.GOOD


@pytest.mark.parametrize("name", NAMES)
def test_the_algorithm_is_the_settings_not_the_documents(name: str) -> None:
    """RS256 does for all but one; `none`, which PingFederate lists, can't even be set."""
    listed = recorded(name)["id_token_signing_alg_values_supported"]
    assert settings(name).id_token_alg == "RS256"
    assert ("RS256" in listed) is (name not in WITHOUT_RS256)
    wanted = WITHOUT_RS256.get(name, "RS256")
    assert settings(name, id_token_alg=wanted).id_token_alg in listed


@pytest.mark.parametrize("name", NAMES)
def test_any_other_issuer_than_the_documents_is_refused(name: str) -> None:
    """A slash more or less is another issuer, and a placeholder is none."""
    document = recorded(name)
    issuer = str(document["issuer"])
    other = issuer[:-1] if issuer.endswith("/") else issuer + "/"
    with pytest.raises(BadMetadataError, match="issuer_mismatch"):
        judge_metadata(document, other)


@pytest.mark.parametrize("name", ["auth0", "authentik"])
def test_these_issuers_end_with_a_slash(name: str) -> None:
    """And are kept as they are."""
    assert judge_metadata(recorded(name), settings(name).issuer).issuer.endswith("/")


def test_one_tenants_document_is_not_that_of_several() -> None:
    """Nor the other way round, whatever the list of tenants says."""
    common = "https://login.microsoftonline.com/common/v2.0"
    with pytest.raises(BadMetadataError, match="issuer_mismatch"):
        judge_metadata(recorded("entra-tenant"), common)
    with pytest.raises(BadMetadataError, match="issuer_mismatch"):
        judge_metadata(recorded("entra-common"), recorded("entra-tenant")["issuer"])


@pytest.mark.parametrize(("name", "endpoint"), [
    ("auth0", "https://tenant.auth0.example/v2/logout"),
    ("cognito", "https://tenant.auth.us-east-1.amazoncognito.com/logout"),
])  # fmt: skip
async def test_a_sign_out_that_is_set_stands_for_the_documents(
    make: Make, name: str, endpoint: str
) -> None:
    """Also where the document has one."""
    _, metadata = make(name, end_session_endpoint=endpoint)
    assert metadata.end_session_endpoint == endpoint


@pytest.mark.parametrize(("name", "modes"), [
    ("apple", {"form_post"}), ("keycloak", {"form_post", *JWT_MODES}), ("slack", set[str]()),
    ("pingone", set[str]()), ("pingfederate", {"form_post", *JWT_MODES}),
])  # fmt: skip
def test_the_forms_of_answers_that_recipes_name_are_offered(name: str, modes: set[str]) -> None:
    """`docs/providers.md` recommends no other."""
    offered = set(recorded(name)["response_modes_supported"])
    assert offered & {"form_post", *JWT_MODES} == modes


def test_every_recorded_provider_has_its_recipe() -> None:
    """In the page that operators read."""
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text("utf-8").lower()
    for name in NAMES:
        for word in name.removesuffix("-demo").split("-")[:1]:
            assert word in page, f"docs/providers.md does not speak of {name}"
