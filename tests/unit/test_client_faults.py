"""Faults of keys and certificate that only the contents of their files show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bff.client_faults import client_faults
from bff.client_settings import ClientSettings
from bff.key_file import make, new_key
from tests.support.certificates import client_certificate

Judge = Callable[..., dict[str, str]]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Judge:
    """A function that returns the faults of some settings, by variable."""
    monkeypatch.chdir(tmp_path)

    def judge(prefix: str = "BFF_", **values: Any) -> dict[str, str]:
        needed = {"issuer": "https://login.example.com", "client_id": "my-spa"}
        settings = ClientSettings(**{**needed, **values})
        found = client_faults(settings, prefix)
        assert all(fault.example for fault in found)
        return {fault.variable: fault.problem for fault in found}

    return judge


def test_good_files_have_no_faults(judge: Judge, tmp_path: Path) -> None:
    """Keys of both kinds and a certificate, with everything that needs them switched on."""
    make(tmp_path / "keys.json", "ES256", "RSA-OAEP-256")
    cert, key = client_certificate(tmp_path)
    assert not judge(
        client_key_file=tmp_path / "keys.json",
        client_cert_file=cert,
        client_cert_key_file=key,
        client_auth="private_key_jwt",
        request_object=True,
        id_token_encryption="required",
    )


@pytest.mark.parametrize("method", [None, "private_key_jwt"])
def test_a_key_for_encryption_proves_nothing(
    judge: Judge, tmp_path: Path, method: str | None
) -> None:
    """Where a key must sign, one for encryption is none; beside a secret it is welcome."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [new_key("enc", "ECDH-ES")]}))
    found = judge(client_key_file=path, client_auth=method)
    assert "no key for signatures" in found["BFF_CLIENT_KEY_FILE"]
    assert not judge(client_key_file=path, client_secret="hush", id_token_encryption="required")


def test_what_needs_a_key_says_so(judge: Judge, tmp_path: Path) -> None:
    """Signed requests and encrypted tokens, each without the key for it; all at once."""
    found = judge(client_secret="hush", request_object=True, id_token_encryption="required")
    assert found.keys() == {"BFF_REQUEST_OBJECT", "BFF_ID_TOKEN_ENCRYPTION"}
    path = tmp_path / "nonsense"
    path.write_text("nonsense")
    found = judge(client_key_file=path, client_cert_file=path, client_secret="hush")
    assert found.keys() == {"BFF_CLIENT_KEY_FILE", "BFF_CLIENT_CERT_FILE"}
    assert "JWK Set" in found["BFF_CLIENT_KEY_FILE"] or "hold" in found["BFF_CLIENT_KEY_FILE"]


def test_a_certificate_of_another_key_is_found(judge: Judge, tmp_path: Path) -> None:
    """Before the port opens, not at the first login."""
    cert, _ = client_certificate(tmp_path)
    _, other = client_certificate(tmp_path, "other")
    found = judge(client_cert_file=cert, client_cert_key_file=other)
    assert "BFF_CLIENT_CERT_KEY_FILE" in found["BFF_CLIENT_CERT_FILE"]


def test_a_named_providers_faults_have_its_name(judge: Judge) -> None:
    """The variables of a provider of BFF_PROVIDERS are meant, in the text too."""
    found = judge("BFF_PROVIDERS__ACME__", client_secret="hush", request_object=True)
    assert "BFF_PROVIDERS__ACME__CLIENT_KEY_FILE" in found["BFF_PROVIDERS__ACME__REQUEST_OBJECT"]
