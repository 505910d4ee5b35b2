from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from bff.demo.api.tokens import InvalidTokenError, import_keys, read_kid, verify
from tests.unit.demo.driver import make_key

NOW = 1_800_000_000
KEY = make_key("k1")
GOOD: dict[str, object] = {
    "iss": "http://issuer", "aud": "api", "sub": "alice", "client_id": "app", "iat": NOW,
    "exp": NOW + 300, "jti": "j", "scope": "openid orders:read", "roles": ["admin"],
}  # fmt: skip


def make(
    changes: dict[str, object] | None = None,
    key: RSAKey = KEY,
    header: dict[str, object] | None = None,
) -> str:
    claims = {name: value for name, value in (GOOD | (changes or {})).items() if value is not None}
    whole = {"alg": "RS256", "typ": "at+jwt", "kid": "k1"} | (header or {})
    return jwt.encode(whole, claims, key, algorithms=["RS256"])


def reason(token: str, key: RSAKey = KEY) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        verify(token, key, "http://issuer", "api", NOW)
    return caught.value.reason


def test_a_good_token_says_who_calls() -> None:
    """A token that is all right gives its user, client, scopes, roles and name."""
    token = verify(make({"name": "Alice"}), KEY, "http://issuer", "api", NOW)
    assert (token.sub, token.client_id, token.name) == ("alice", "app", "Alice")
    assert token.scopes == {"openid", "orders:read"}
    assert token.roles == {"admin"}
    assert token.expires_at == NOW + 300


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_has_two_spellings(typ: str) -> None:
    """The media type may be written out (RFC 9068 section 4)."""
    verify(make(header={"typ": typ}), KEY, "http://issuer", "api", NOW)


def test_the_audience_may_be_one_of_several() -> None:
    """An audience list that holds ours is accepted."""
    verify(make({"aud": ["other", "api"]}), KEY, "http://issuer", "api", NOW)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "http://issuer/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": "api/"}, "audience"),
        ({"aud": ["other"]}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": NOW - 5}, "expired"),
        ({"exp": None}, "times"),
        ({"exp": str(NOW + 300)}, "times"),
        ({"exp": True}, "times"),
        ({"iat": None}, "times"),
        ({"iat": NOW + 6}, "not_yet_valid"),
        ({"nbf": NOW + 6}, "not_yet_valid"),
        ({"sub": None}, "claims"),
        ({"sub": 5}, "claims"),
        ({"client_id": None}, "claims"),
    ],
)
def test_claims_are_judged(changes: dict[str, object], expected: str) -> None:
    """Issuer, audience and times must be right, and what must be there must be there."""
    assert reason(make(changes)) == expected


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "logout+jwt"}])
def test_other_tokens_are_no_access_tokens(header: dict[str, object]) -> None:
    """An ID token or logout token of the same issuer does not pass."""
    assert reason(make(header=header)) == "type"


def test_odd_scopes_and_roles_give_nothing() -> None:
    """A scope that is no string, or roles that are no list of strings, open nothing."""
    token = verify(
        make({"scope": ["orders:read"], "roles": "admin"}), KEY, "http://issuer", "api", NOW
    )
    assert not token.scopes
    assert not token.roles
    token = verify(make({"roles": [1, "user"]}), KEY, "http://issuer", "api", NOW)
    assert token.roles == {"user"}


def test_another_key_is_refused() -> None:
    """A token that another key signed is refused, and so is one that was touched."""
    other = make_key("k2")
    assert reason(make(key=other), KEY) == "signature"
    head, body, signature = make().split(".")
    assert reason(f"{head}.{body}.{signature[:-4]}AAAA") == "signature"


def segment(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_no_other_algorithm() -> None:
    """Neither an unsigned token, nor one by HMAC with the public key, nor RS512 passes."""
    unsigned = f"{segment({'alg': 'none', 'typ': 'at+jwt', 'kid': 'k1'})}.{segment(GOOD)}."
    assert reason(unsigned) == "signature"
    signed = f"{segment({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'k1'})}.{segment(GOOD)}"
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    assert reason(f"{signed}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}") == "signature"
    bare = RSAKey.import_key(KEY.private_key) if KEY.private_key else KEY
    rs512 = {"alg": "RS512", "typ": "at+jwt", "kid": "k1"}
    assert reason(jwt.encode(rs512, GOOD, bare, algorithms=["RS512"])) == "signature"


def test_crit_is_refused() -> None:
    """A header that must be understood, and is not, is refused."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "k1", "crit": ["b64"], "b64": True}
    signed = f"{segment(header)}.{segment(GOOD)}"
    assert KEY.private_key is not None
    signature = KEY.private_key.sign(signed.encode(), PKCS1v15(), SHA256())
    encoded = urlsafe_b64encode(signature).rstrip(b"=").decode()
    assert reason(f"{signed}.{encoded}") == "type"


@pytest.mark.parametrize(
    "token", ["", ".", "é", "x" * 20_000, segment([1]) + ".x.y", segment({"kid": 5}), "e30.e30.e30"]
)
def test_a_header_without_kid_names_no_key(token: str) -> None:
    """What is no JWT with a kid is refused before any key is looked for."""
    with pytest.raises(InvalidTokenError):
        read_kid(token)


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    """Whatever text comes, it is refused in an orderly way."""
    with pytest.raises(InvalidTokenError):
        read_kid(text)
        verify(text, KEY, "http://issuer", "api", NOW)


def test_one_bad_key_spoils_no_other() -> None:
    """Keys of other kinds, uses and shapes are passed over."""
    good = KEY.as_dict(private=False)
    bad: list[object] = [
        None, "x", {}, {"kty": "RSA", "kid": "a"}, {"kty": "RSA", "kid": "b", "n": "!", "e": "!"},
        {"kty": "EC", "crv": "P-999", "kid": "c"}, {**good, "kid": "d", "use": "enc"},
        {**good, "kid": "e", "alg": "PS256"}, {**good, "kid": 5},
    ]  # fmt: skip
    assert set(import_keys({"keys": [*bad, good]})) == {"k1"}
    spoiled: list[object] = [None, [], {"keys": {}}, {"keys": None}]
    for jwks in spoiled:
        assert import_keys(jwks) == {}
