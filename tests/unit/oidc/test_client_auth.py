"""How we prove to the provider who we are: methods, assertions, and the files that hold keys."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey

from bff.oidc.client_auth import (
    ASSERTION_LIFETIME,
    ASSERTION_TYPE,
    BadClientKeyError,
    assertion,
    basic,
    choose_method,
    load_key,
    signing_algorithm,
)
from bff.oidc.keys import client_secret_key, import_keys, verify
from tests.support.jose import ec, ed25519, jwk, rsa

ISSUER = "https://login.example.com/"
SECRET = "a client secret that is long enough."


@dataclass
class Me:
    """What Authlib hands to a hook."""

    client_id: str = "my-spa"
    client_secret: str = SECRET


BASIC, POST = "client_secret_basic", "client_secret_post"


@pytest.mark.parametrize(
    ("configured", "has_secret", "has_key", "offered", "method"),
    [
        (None, True, False, {BASIC, POST}, BASIC),
        (None, True, False, {POST}, POST),
        (None, True, False, {BASIC}, BASIC),
        (None, True, False, {POST, "private_key_jwt"}, POST),
        (None, True, False, set(), BASIC),
        (None, True, False, {"private_key_jwt"}, BASIC),
        (None, False, True, {BASIC}, "private_key_jwt"),
        (None, True, True, {POST}, "private_key_jwt"),
        (None, False, False, {BASIC}, "none"),
        ("client_secret_jwt", True, True, {BASIC}, "client_secret_jwt"),
        (BASIC, True, False, {POST}, BASIC),
        ("none", True, True, set(), "none"),
    ],
)
def test_the_method_is_that_of_the_contract(
    configured: str | None, offered: set[str], method: str, *, has_secret: bool, has_key: bool
) -> None:
    """What is configured; else by key, by secret and by what discovery lists; else none."""
    found = choose_method(
        configured, has_secret=has_secret, has_key=has_key, offered=frozenset(offered)
    )
    assert found == method


def authorize(client_id: str, client_secret: str) -> str:
    """Return the pair in a Basic header, decoded."""
    headers: dict[str, str] = {}
    assert basic(Me(client_id, client_secret), "POST", "u", headers, "b") == ("u", headers, "b")
    kind, _, value = headers["Authorization"].partition(" ")
    assert kind == "Basic"
    return base64.b64decode(value).decode("ascii")


def test_basic_encodes_both_parts_first() -> None:
    """RFC 6749 2.3.1: form-encoding, then base64 (note T6)."""
    assert authorize("my-spa", "hush") == "my-spa:hush"
    assert authorize("a:b", "c d+e%f/\u00e9") == "a%3Ab:c+d%2Be%25f%2F%C3%A9"


@given(st.text(), st.text())
def test_basic_can_be_read_back(client_id: str, client_secret: str) -> None:
    """Exactly one colon separates the parts, and each decodes to what it was."""
    first, second = authorize(client_id, client_secret).split(":")
    assert (unquote_plus(first), unquote_plus(second)) == (client_id, client_secret)


@pytest.mark.parametrize(
    ("key", "alg"),
    [(rsa(), "PS256"), (rsa(), "RS256"), (ec(), "ES256"), (ed25519(), "EdDSA")],
    ids=str,
)
@pytest.mark.parametrize("body", ["grant_type=x", b"grant_type=x", "", b"", None])
def test_an_assertion_says_who_we_are_to_whom(key: Any, alg: str, body: Any) -> None:
    """iss and sub are the client, aud the issuer as a string, a minute of life (note T7)."""
    key.ensure_kid()
    sign = assertion(ISSUER, key, alg, clock=lambda: 1000.9)
    uri, headers, sent = sign(Me(), "POST", "https://login.example.com/token", {"A": "b"}, body)
    assert (uri, headers) == ("https://login.example.com/token", {"A": "b"})
    fields = parse_qs(sent, strict_parsing=True)
    assert fields["client_id"] == ["my-spa"]
    assert fields["client_assertion_type"] == [ASSERTION_TYPE]
    assert fields.get("grant_type") == (["x"] if body else None)
    keys, _ = import_keys({"keys": [jwk(key, kid=key.kid)]})
    token = verify(fields["client_assertion"][0], alg, keys)
    assert token.header == {"alg": alg, "typ": "JWT", "kid": key.kid}
    claims = dict(token.claims)
    assert claims.pop("jti")
    assert claims == {
        "iss": "my-spa", "sub": "my-spa", "aud": ISSUER, "iat": 1000,
        "exp": 1000 + ASSERTION_LIFETIME,
    }  # fmt: skip


def test_every_assertion_has_its_own_jti() -> None:
    """Two requests never carry the same assertion (note T8)."""
    sign = assertion(ISSUER, ec(), "ES256")
    sent = {sign(Me(), "POST", "u", {}, "")[2] for _ in range(5)}
    assert len(sent) == 5


def test_an_assertion_by_secret_names_no_key() -> None:
    """client_secret_jwt is signed with the secret, whose thumbprint is nobody's business."""
    secret_key = client_secret_key(SECRET)
    secret_key.key.ensure_kid()
    sent = assertion(ISSUER, secret_key.key, "HS256")(Me(), "POST", "u", {}, "")[2]
    token = verify(parse_qs(sent)["client_assertion"][0], "HS256", [secret_key])
    assert "kid" not in token.header


@pytest.mark.parametrize("form", ["pem", "jwk", "jwk with white space", "encrypted jwk members"])
@pytest.mark.parametrize(
    ("key", "alg"),
    [(rsa(), "PS256"), (ec(), "ES256"), (ec("P-384"), "ES384"), (ec("P-521"), "ES512"),
     (ed25519(), "EdDSA")],
    ids=str,
)  # fmt: skip
def test_a_private_key_is_loaded(tmp_path: Path, key: Any, alg: str, form: str) -> None:
    """From PEM or JWK, with the algorithm that it signs with and a name."""
    text = json.dumps({**key.as_dict(private=True), "use": "sig"}).encode()
    file = tmp_path / "key"
    file.write_bytes(
        {"pem": key.as_pem(private=True), "jwk": text, "jwk with white space": b"\n  " + text}.get(
            form, text
        )
    )
    loaded, found = load_key(file)
    assert found == alg
    assert loaded.is_private
    assert loaded.kid


def test_a_jwk_keeps_its_name_and_algorithm(tmp_path: Path) -> None:
    """`kid` and, for RSA, `alg` of the file are used."""
    file = tmp_path / "key"
    file.write_text(json.dumps({**rsa().as_dict(private=True), "kid": "mine", "alg": "RS384"}))
    loaded, alg = load_key(file)
    assert (loaded.kid, alg) == ("mine", "RS384")


PRIVATE = rsa().as_dict(private=True)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense", b"\xff\xfe", b"{", b"{}", b"[]", b'{"kty": 5}', b'{"kty": "RSA"}',
        b'{"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "d": "AA"}',
        b'{"kty": "oct", "k": "' + b"A" * 64 + b'"}',
        b'{"kty": "RSA", "kty": "RSA"}',
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        rsa().as_pem(private=False), ec().as_pem(private=False), ed25519().as_pem(private=False),
        json.dumps(jwk(rsa())).encode(), json.dumps(jwk(ec())).encode(),
        rsa().as_pem(private=True, password="x"),
        json.dumps({**PRIVATE, "alg": "none"}).encode(),
        json.dumps({**PRIVATE, "alg": "HS256"}).encode(),
        json.dumps({**PRIVATE, "alg": "RSA-OAEP"}).encode(),
        json.dumps({**PRIVATE, "n": 7}).encode(),
        ECKey.generate_key("secp256k1").as_pem(private=True),
        OKPKey.generate_key("X25519").as_pem(private=True),
    ],
)  # fmt: skip
def test_what_is_no_private_key_for_signing_is_refused(tmp_path: Path, data: bytes) -> None:
    """Public, encrypted, symmetric and malformed keys, and such as cannot sign."""
    file = tmp_path / "key"
    file.write_bytes(data)
    with pytest.raises(BadClientKeyError) as caught:
        load_key(file)
    assert str(caught.value).split()[0] in {"is", "has"}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file, or a folder, is the same kind of fault."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(BadClientKeyError):
            load_key(path)


def test_no_other_kind_of_key_signs() -> None:
    """A key that is none of the three is refused by name."""
    with pytest.raises(BadClientKeyError):
        signing_algorithm(OctKey.generate_key(256))  # type: ignore[arg-type]
