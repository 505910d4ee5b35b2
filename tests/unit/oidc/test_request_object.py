"""Signed authorization requests (JAR): what stands inside, and what beside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bff.oidc.client_keys import ClientKeys, parse_keys
from bff.oidc.keys import import_keys, verify
from bff.oidc.request_object import REQUEST_LIFETIME, by_value, pushed, request_object
from tests.support.jose import ec, ed25519, rsa
from tests.unit.oidc.test_client_keys import key_set, own

ISSUER = "https://login.example.com/"
PARAMETERS = {
    "response_type": "code", "client_id": "my-spa", "redirect_uri": "https://app.example.com/cb",
    "scope": "openid profile", "state": "s", "nonce": "n", "code_challenge": "x",
    "code_challenge_method": "S256", "response_mode": "jwt", "max_age": "0",
    "login_hint": "caf\u00e9 & co",
}  # fmt: skip


def signed_by(keys: ClientKeys, **more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a request object, verified with what we publish."""
    assert keys.signer is not None
    text = request_object(PARAMETERS | more, keys.signer, ISSUER, 1000.9, b"r" * 16)
    usable, _ = import_keys({"keys": keys.published()})
    token = verify(text, keys.signer.alg, usable)
    return dict(token.header), dict(token.claims)


@pytest.mark.parametrize(
    "member",
    [own(ec(), kid="k"), own(rsa(), kid="k"), own(rsa(), kid="k", alg="RS256"),
     own(ed25519(), kid="k"), own(ed25519(), kid="k", alg="Ed25519")],
    ids=["ES256", "PS256", "RS256", "EdDSA", "Ed25519"],
)  # fmt: skip
def test_every_parameter_is_signed(member: dict[str, Any]) -> None:
    """The request is inside, PKCE too; `iss` is us, `aud` the issuer as a string (RFC 9101 4)."""
    header, claims = signed_by(parse_keys(key_set(member)))
    assert (header["typ"], header["kid"]) == ("oauth-authz-req+jwt", "k")
    assert claims == {
        **PARAMETERS, "max_age": 0, "iss": "my-spa", "aud": ISSUER, "jti": "cnJycnJycnJycnJycnJycg",
        "iat": 1000, "nbf": 1000, "exp": 1000 + REQUEST_LIFETIME,
    }  # fmt: skip
    assert not {"sub", "request", "request_uri"} & claims.keys()
    assert claims["exp"] - claims["nbf"] <= 3600


def test_what_is_json_inside_is_an_object() -> None:
    """The `claims` parameter is an object in a request object (OIDC Core 5.5)."""
    wanted = {"id_token": {"acr": {"essential": True}}}
    _, claims = signed_by(parse_keys(key_set(own(ec()))), claims=json.dumps(wanted))
    assert claims["claims"] == wanted


def test_beside_it_stands_only_what_must() -> None:
    """By PAR `client_id`; in the address what OpenID Connect wants there too (Core 6.1)."""
    assert pushed(PARAMETERS, "jwt") == {"client_id": "my-spa", "request": "jwt"}
    assert by_value(PARAMETERS, "jwt") == {
        "client_id": "my-spa", "response_type": "code", "scope": "openid profile", "request": "jwt",
    }  # fmt: skip
