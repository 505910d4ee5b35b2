"""What `bff check` says of settings that few providers need."""

from __future__ import annotations

from typing import Any

import pytest

from bff.configuration import registration_of
from bff.doctor.findings import Finding, Grade
from bff.doctor.peculiar import peculiar_findings
from bff.doctor.provider import examine_provider, unusable
from bff.settings import Settings
from tests.support.recorded import recorded
from tests.support.scripted_provider import Answer, scripted_provider

TENANT = "11111111-2222-3333-4444-555555555555"
COMMON = "https://login.microsoftonline.com/common/v2.0"


def settings(**values: Any) -> Settings:
    """Return a configuration that is complete but for what a test is about."""
    needed = {
        "base_url": "https://app.example.com", "issuer": "https://login.example.com",
        "client_id": "app", "client_secret": "hush", "secret": "x" * 40,
        "redis_url": "redis://redis",
    }  # fmt: skip
    return Settings.load(None, **{**needed, **values})


def found(**values: Any) -> dict[str, Finding]:
    """Return the findings by subject."""
    findings = peculiar_findings(registration_of(settings(**values)))
    return {finding.subject: finding for finding in findings}


def test_where_nothing_is_peculiar_nothing_is_said() -> None:
    """Most providers need none of it."""
    assert not found()


def test_tenants_are_named_and_any_is_warned_of() -> None:
    """With what to do."""
    tenants = found(issuer=COMMON, tenants=[TENANT])["tenants"]
    assert (tenants.grade, tenants.text) == (Grade.GOOD, TENANT)
    anybody = found(issuer=COMMON, tenants=["*"])["tenants"]
    assert (anybody.grade, "BFF_TENANTS" in anybody.advice) == (Grade.WARNING, True)


def test_claims_and_sign_out_are_named() -> None:
    """As they are set."""
    said = found(
        required_claims={"hd": "example.com"},
        end_session_endpoint="https://login.example.com/out",
        logout_params={"client_id": "{client_id}"},
    )
    assert said["required claims"].text == "hd"
    assert said["sign-out as set"].text == "https://login.example.com/out, with client_id"
    assert found(logout_params={})["sign-out as set"].text.endswith("no parameters")


def test_googles_refresh_token_is_spoken_of() -> None:
    """It comes for a parameter, not for a scope."""
    google = "https://accounts.google.com"
    assert "access_type" in found(issuer=google)["refresh token"].text
    asked = {"access_type": "offline", "prompt": "consent"}
    assert "refresh token" not in found(issuer=google, authorize_params=asked)


def test_a_placeholder_is_not_to_be_configured() -> None:
    """Who forgot how the issuer of several tenants is written is told."""
    finding = unusable("issuer_mismatch", recorded("entra-common"))
    assert (finding.grade, "/organizations/v2.0" in finding.advice) == (Grade.FAULT, True)


@pytest.mark.parametrize(
    ("error", "grade"),
    [("bad_verification_code", Grade.GOOD), ("incorrect_client_credentials", Grade.FAULT)],
)
async def test_a_provider_without_id_tokens_is_tried_too(error: str, grade: Grade) -> None:
    """Without discovery; the client is tried with a code that nobody issued."""
    async with scripted_provider() as provider:
        provider.answers["/token"] = Answer(body={"error": error})
        plain = {
            "authorization_endpoint": provider.url("/authorize"),
            "token_endpoint": provider.url("/token"),
            "userinfo_endpoint": provider.url("/user"),
            "subject": "id",
        }
        registration = registration_of(settings(oauth2_without_id_token=plain))
        findings = await examine_provider(registration, "https://app.example.com/bff/callback")
        said = {finding.subject: finding for finding in findings}
        assert said["authentication"].grade is grade
        assert (said["identity"].grade, bool(said["identity"].advice)) == (Grade.WARNING, True)
        assert [asked.target for asked in provider.asked] == ["/token"]
