"""Nested JWTs that were encrypted for us: what is opened, and what is refused unopened."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from bff.oidc.client_keys import DecryptionKey, parse_keys
from bff.oidc.decryption import CONTENT_ALGORITHMS, decrypt, is_encrypted
from bff.oidc.keys import MAX_TOKEN, BadTokenError
from tests.support.jose import b64, ec, encrypt, forge, rsa, sign, unb64
from tests.unit.oidc.test_client_keys import key_set, own

INNER = sign({"sub": "alice"}, kid="one")


def keys(*members: dict[str, Any]) -> tuple[DecryptionKey, ...]:
    """Return decryption keys from private JWKs."""
    return parse_keys(key_set(*members)).decryption


RSA = own(rsa("enc"), kid="r", use="enc")
EC = own(ec(name="enc"), kid="e", use="enc")
OURS = keys(RSA, EC)


@pytest.mark.parametrize("enc", sorted(CONTENT_ALGORITHMS))
@pytest.mark.parametrize(
    ("key", "kid", "alg"),
    [
        (rsa("enc"), "r", "RSA-OAEP"),
        (rsa("enc"), "r", "RSA-OAEP-256"),
        (ec(name="enc"), "e", "ECDH-ES"),
        (ec(name="enc"), "e", "ECDH-ES+A128KW"),
        (ec(name="enc"), "e", "ECDH-ES+A192KW"),
        (ec(name="enc"), "e", "ECDH-ES+A256KW"),
    ],
)
def test_every_accepted_algorithm_opens(key: Any, kid: str, alg: str, enc: str) -> None:
    """With `kid` and without, with `cty` and without, the signed JWT comes out as it went in."""
    for header in ({"kid": kid}, {}, {"cty": None}, {"cty": "jwt"}):
        token = encrypt(INNER, key, alg, enc, **header)
        assert is_encrypted(token)
        assert decrypt(token, OURS) == INNER


def test_the_last_key_still_opens() -> None:
    """After a rotation the provider may still hold the key that was published before."""
    turned = keys(own(rsa("new"), kid="new", use="enc"), RSA)
    assert decrypt(encrypt(INNER, rsa("enc"), kid="r"), turned) == INNER
    assert decrypt(encrypt(INNER, rsa("enc")), turned) == INNER


SYMMETRIC = OctKey.import_key(b"k" * 32)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b64(b'{"alg":"RSA1_5","enc":"A128GCM","kid":"r"}') + ".a.a.a.a", "encryption_alg"),
        (b64(b'{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":9}') + "....", "encryption_alg"),
        (encrypt(INNER, SYMMETRIC, "dir"), "encryption_alg"),
        (encrypt(INNER, SYMMETRIC, "A256KW"), "encryption_alg"),
        (encrypt(INNER, rsa("enc"), zip="DEF"), "encryption_header"),
        (encrypt("{}" * 9000, rsa("enc"), zip="DEF"), "encryption_header"),
        (encrypt(INNER, rsa("enc"), kid="other"), "encryption_key"),
        (encrypt(INNER, rsa("enc"), kid="e"), "encryption_key"),
        (encrypt(INNER, rsa("stranger")), "decryption"),
        (encrypt(INNER, ec(name="stranger"), "ECDH-ES"), "decryption"),
        (encrypt(INNER, ec("P-384", "stranger"), "ECDH-ES"), "decryption"),
        (encrypt('{"sub": "alice"}', rsa("enc")), "not_nested"),
        (encrypt(encrypt(INNER, rsa("enc")), rsa("enc")), "not_nested"),
        (encrypt("", rsa("enc")), "not_nested"),
        (encrypt(INNER, rsa("enc"), cty="json"), "not_nested"),
        (encrypt(INNER, rsa("enc"), cty="application/jwt"), "not_nested"),
        ("....", "malformed"),
        ("a.b.c.d.e", "malformed"),
        (b64(b"{}") + "....", "encryption_alg"),
        (b64(b'{"alg":"RSA-OAEP"}') + "....", "encryption_alg"),
        (b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}') + "....", "decryption"),
        (b64(b'{"alg":"RSA-OAEP","enc":["A256GCM"]}') + "....", "encryption_alg"),
        (b64(b'{"alg":["RSA-OAEP"],"enc":"A256GCM"}') + "....", "encryption_alg"),
        (b64(b'{"alg":"RSA-OAEP","enc":"A256GCM","kid":["r"]}') + "....", "encryption_key"),
        (b64(b'{"alg":"RSA-OAEP","enc":"A256GCM","crit":["exp"]}') + "....", "encryption_header"),
        (b64(b'{"alg":"ECDH-ES","enc":"A256GCM","epk":7}') + "....", "decryption"),
        (b64(b'{"alg":"ECDH-ES","enc":"A256GCM"}') + "....", "decryption"),
        (b64(b'{"alg":"ECDH-ES","alg":"dir","enc":"A256GCM"}') + "....", "malformed"),
        ("\u00e9....", "malformed"),
        ("A" * MAX_TOKEN + "....", "malformed"),
    ],
)  # fmt: skip
def test_what_is_not_opened(token: str, reason: str) -> None:
    """Shared keys and passwords, RSA1_5, compression, `crit`, other keys, no JWT inside."""
    with pytest.raises(BadTokenError) as caught:
        decrypt(token, OURS)
    assert caught.value.reason == reason


def test_a_key_opens_only_what_its_alg_says() -> None:
    """`alg` of our own key narrows what is accepted, as RFC 8725 3.1 wants it."""
    narrow = keys({**RSA, "alg": "RSA-OAEP-256"})
    assert decrypt(encrypt(INNER, rsa("enc"), "RSA-OAEP-256"), narrow) == INNER
    with pytest.raises(BadTokenError, match="encryption_alg"):
        decrypt(encrypt(INNER, rsa("enc"), "RSA-OAEP"), narrow)


def test_without_keys_nothing_is_opened() -> None:
    """Who has no key refuses by name."""
    with pytest.raises(BadTokenError, match="encryption_alg"):
        decrypt(encrypt(INNER, rsa("enc")), ())


def test_points_off_the_curve_are_refused() -> None:
    """An ephemeral key that lies on another curve would tell our key bit by bit (RFC 8725 3.4)."""
    for epk in (
        b'{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}',
        b'{"kty":"EC","crv":"P-256","x":"' + b"A" * 43 + b'","y":"' + b"A" * 43 + b'"}',
        b'{"kty":"OKP","crv":"X25519","x":"' + b"A" * 43 + b'"}',
        b'{"kty":"EC","crv":"P-256","y":"AQ"}',
    ):
        header = b64(b'{"alg":"ECDH-ES","enc":"A128GCM","epk":' + epk + b"}")
        with pytest.raises(BadTokenError, match="decryption"):
            decrypt(f"{header}..{b64(bytes(12))}.{b64(b'x')}.{b64(bytes(16))}", OURS)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_changed_token_is_opened(data: st.DataObject) -> None:
    """Any change of any part fails, by one name once the header is understood."""
    token = encrypt(INNER, ec(name="enc"), "ECDH-ES+A128KW", "A128GCM", kid="e")
    parts = [bytearray(unb64(part)) for part in token.split(".")]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadTokenError):
        decrypt(".".join(b64(bytes(part)) for part in parts), OURS)


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,20}){4}", fullmatch=True),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=6),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "alg"]), inner)
            ),
            max_leaves=8,
        ).map(
            lambda epk: (
                forge({"alg": "ECDH-ES", "enc": "A128GCM", "epk": epk}, {}).split(".")[0]
                + "..AAAA.AAAA.AAAA"
            )
        ),
    )
)
@settings(deadline=None)
def test_no_text_makes_it_stumble(text: str) -> None:
    """Whatever is handed in is refused with a reason."""
    with pytest.raises(BadTokenError):
        decrypt(text, OURS)


def test_strangers_are_refused_in_bounded_time() -> None:
    """The largest token that passes the limit costs no more than a few operations."""
    header = b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}')
    token = f"{header}.{b64(bytes(256))}.{b64(bytes(12))}.{'A' * 60_000}.{b64(bytes(16))}"
    began = time.process_time()
    with pytest.raises(BadTokenError):
        decrypt(token, OURS)
    assert time.process_time() - began < 1
