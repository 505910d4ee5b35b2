"""What `bff check` says of keys, certificate, and the forms of requests and answers."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bff.doctor.agreement import agreement_findings
from bff.doctor.findings import Finding, Grade
from bff.key_file import make
from bff.oidc.metadata import judge_metadata
from bff.oidc.mtls import ClientCertificate
from bff.oidc.provider import Provider
from tests.support.certificates import client_certificate
from tests.support.clock import Clock
from tests.support.jose import ec
from tests.support.our_side import provider_of
from tests.support.scripted_provider import ScriptedProvider

Look = Callable[..., dict[str, Finding]]
NOW = datetime.datetime.now(datetime.UTC).timestamp()


@pytest.fixture
async def look() -> AsyncIterator[Look]:
    """A function that looks at a provider of these members with a registration of these."""
    made: list[Provider] = []

    def look(members: dict[str, Any] | None = None, **registration: Any) -> dict[str, Finding]:
        scripted = ScriptedProvider("https://login.example.com", metadata=members or {})
        provider = provider_of(scripted, Clock(0.0), **registration)
        made.append(provider)
        document = scripted.document()
        metadata = judge_metadata(document, scripted.issuer)
        found = agreement_findings(provider, metadata, document, NOW)
        return {finding.subject: finding for finding in found}

    yield look
    for provider in made:
        await provider.aclose()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file that `bff keys` made."""
    path = tmp_path / "keys.json"
    make(path, "ES256", "RSA-OAEP-256")
    return path


def test_without_keys_there_is_little_to_say(look: Look) -> None:
    """Plain requests, plain answers."""
    found = look()
    assert found.keys() == {"requests", "answers"}
    assert found["requests"].text == "not signed, in the address"
    assert found["answers"].text == "response_mode query"


def test_all_that_will_be_used_is_named(look: Look, keys: Path) -> None:
    """Key, algorithm, form of the request, of the answer, and encryption."""
    members = {
        "pushed_authorization_request_endpoint": "https://login.example.com/par",
        "require_signed_request_object": True,
        "response_modes_supported": ["query", "jwt"],
        "id_token_encryption_alg_values_supported": ["RSA-OAEP-256"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
    }
    found = look(members, client_key_file=keys, response_mode="jwt", encryption_required=True)
    assert {finding.grade for finding in found.values()} == {Grade.GOOD}
    assert "ES256; 2 published" in found["our keys"].text
    assert found["requests"].text == "signed, pushed"
    assert found["answers"].text == "response_mode jwt, signed with RS256"
    assert found["encryption"].text == "ID tokens must be encrypted with RSA-OAEP-256"


def test_what_is_not_listed_is_a_warning(look: Look, keys: Path) -> None:
    """Each with what to do."""
    members = {
        "response_modes_supported": ["query"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
    }
    found = look(members, client_key_file=keys, response_mode="form_post.jwt")
    for subject in ("our keys", "answers", "encryption"):
        assert found[subject].grade is Grade.WARNING
        assert found[subject].advice
    assert "bff keys --alg" in found["our keys"].advice


def test_a_demand_that_cannot_be_met_is_a_fault(look: Look, keys: Path) -> None:
    """No key, or signing switched off, where the provider wants signed requests."""
    members = {"require_signed_request_object": True}
    assert "BFF_CLIENT_KEY_FILE" in look(members)["requests"].advice
    off = look(members, client_key_file=keys, request_object=False)["requests"]
    assert (off.grade, "BFF_REQUEST_OBJECT" in off.advice) == (Grade.FAULT, True)


def test_a_single_key_is_noted(look: Look, tmp_path: Path) -> None:
    """The next key should be known before it is needed."""
    path = tmp_path / "key.pem"
    path.write_bytes(ec().as_pem(private=True))
    found = look(client_key_file=path)["our keys"]
    assert (found.grade, "--rotate" in found.advice) == (Grade.NOTE, True)


@pytest.mark.parametrize(
    ("days", "grade"), [(-60, Grade.GOOD), (-20, Grade.WARNING), (1, Grade.FAULT)]
)
def test_a_certificate_that_ends_is_told_of(
    look: Look, tmp_path: Path, days: int, grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month before, and when it has."""
    certificate = ClientCertificate(*client_certificate(tmp_path))
    ends = certificate.expires_at().timestamp()
    monkeypatch.setattr(f"{__name__}.NOW", ends + days * 86_400)
    found = look(certificate=certificate, client_secret=None)["certificate"]
    assert found.grade is grade
