"""How we prove to the provider who we are: methods and assertions."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.client_auth import (
    ASSERTION_LIFETIME,
    ASSERTION_TYPE,
    PLAIN_METHODS,
    assertion,
    basic,
    choose_method,
    raw_basic,
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
TLS, SELF_SIGNED = "tls_client_auth", "self_signed_tls_client_auth"


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


@pytest.mark.parametrize(
    ("has_secret", "has_key", "offered", "method"),
    [
        (False, False, {TLS, SELF_SIGNED}, TLS),
        (False, False, {SELF_SIGNED, BASIC}, SELF_SIGNED),
        (False, False, {BASIC}, TLS),
        (True, False, {BASIC, SELF_SIGNED}, SELF_SIGNED),
        (False, True, {TLS}, "private_key_jwt"),
    ],
)
def test_a_certificate_authenticates_unless_there_is_a_key(
    offered: set[str], method: str, *, has_secret: bool, has_key: bool
) -> None:
    """With a key the certificate only binds tokens; else it proves who we are (RFC 8705)."""
    found = choose_method(
        None,
        has_secret=has_secret,
        has_key=has_key,
        offered=frozenset(offered),
        has_certificate=True,
    )
    assert found == method


@pytest.mark.parametrize("method", [TLS, SELF_SIGNED, "none"])
def test_a_certificate_needs_no_more_than_our_name(method: str) -> None:
    """`client_id` goes into the form (RFC 8705 2), nothing into a header."""
    assert PLAIN_METHODS[method](Me(), "POST", "u", {}, "a=b") == ("u", {}, "a=b&client_id=my-spa")


@pytest.mark.parametrize("method", [POST, TLS, "none"])
def test_no_field_is_sent_twice(method: str) -> None:
    """A pushed request holds `client_id` already (RFC 6749 3.2 allows each parameter once)."""
    for body in ("client_id=my-spa&state=s", "state=s&client_id=my-spa", b"client_id=my-spa"):
        _, _, sent = PLAIN_METHODS[method](Me(), "POST", "u", {}, body)
        names = [field.partition("=")[0] for field in sent.split("&")]
        assert len(names) == len(set(names))
        assert parse_qs(sent)["client_id"] == ["my-spa"]


def test_an_assertion_repeats_no_field_either() -> None:
    """private_key_jwt adds only what is not there yet."""
    _, _, sent = assertion(ISSUER, ec(), "ES256")(Me(), "POST", "u", {}, "client_id=my-spa&a=b")
    assert parse_qs(sent)["client_id"] == ["my-spa"]
    assert parse_qs(sent)["a"] == ["b"]


def test_basic_can_be_left_raw() -> None:
    """For providers that do not decode: the parts go as they are (note T6)."""
    headers: dict[str, str] = {}
    raw_basic(Me("a b", "c+d%:\u00e9"), "POST", "u", headers, "b")
    value = headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(value).decode() == "a b:c+d%:\u00e9"


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
