"""Our own private keys: files that hold them, what each is for, what is published of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from bff.oidc.client_keys import (
    MAX_OWN_KEYS,
    BadClientKeyError,
    load_keys,
    parse_keys,
)
from tests.support.jose import ec, ed25519, jwk, rsa

RSA_OID = bytes.fromhex("2a864886f70d010101")


@pytest.mark.parametrize("form", ["pem", "jwk", "jwk with white space", "encrypted jwk members"])
@pytest.mark.parametrize(
    ("key", "alg"),
    [(rsa(), "PS256"), (ec(), "ES256"), (ec("P-384"), "ES384"), (ec("P-521"), "ES512"),
     (ed25519(), "EdDSA")],
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
    signer = load_keys(file).signer
    assert signer is not None
    assert signer.alg == alg
    assert signer.key.is_private
    assert signer.key.kid


def test_a_jwk_keeps_its_name_and_algorithm(tmp_path: Path) -> None:
    """`kid` and, for RSA, `alg` of the file are used."""
    file = tmp_path / "key"
    file.write_text(json.dumps({**rsa().as_dict(private=True), "kid": "mine", "alg": "RS384"}))
    signer = load_keys(file).signer
    assert signer is not None
    assert (signer.key.kid, signer.alg) == ("mine", "RS384")


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
        load_keys(file)
    assert str(caught.value).split()[0] in {"is", "has", "holds", "must", "cannot"}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file, or a folder, is the same kind of fault."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(BadClientKeyError):
            load_keys(path)


def own(key: Any, **members: object) -> dict[str, Any]:
    """Return a private key as a JWK with other members."""
    return {**key.as_dict(private=True), **members}


def key_set(*members: Any) -> bytes:
    """Return a JWK Set as the bytes of a file."""
    return json.dumps({"keys": members}).encode()


def test_the_first_key_signs_and_all_are_published() -> None:
    """Two keys for rotation: the provider knows the second before it signs (PEM and JWK Set)."""
    rotating = key_set(own(ec(), kid="now"), own(rsa(), kid="next", alg="RS256"))
    keys = parse_keys(rotating)
    assert keys.signer is not None
    assert (keys.signer.key.kid, keys.signer.alg) == ("now", "ES256")
    assert [(one["kid"], one["use"], one["alg"]) for one in keys.published()] == [
        ("now", "sig", "ES256"), ("next", "sig", "RS256"),
    ]  # fmt: skip
    blocks = ec().as_pem(private=True) + b"\n" + rsa().as_pem(private=True)
    assert [one.alg for one in parse_keys(blocks).signing] == ["ES256", "PS256"]


def test_openssl_writes_more_than_keys() -> None:
    """Parameters and certificates around a key are passed over."""
    pem = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert len(parse_keys(pem + ec().as_pem(private=True)).signing) == 1


@pytest.mark.parametrize(
    ("key", "members", "algs"),
    [
        (rsa("enc"), {"use": "enc"}, {"RSA-OAEP", "RSA-OAEP-256"}),
        (rsa("enc"), {"use": "enc", "alg": "RSA-OAEP-256"}, {"RSA-OAEP-256"}),
        (rsa("enc"), {"key_ops": ["decrypt", "unwrapKey"]}, {"RSA-OAEP", "RSA-OAEP-256"}),
        (ec(name="enc"), {"use": "enc", "alg": "ECDH-ES+A256KW"}, {"ECDH-ES+A256KW"}),
        (ec("P-521", "enc"), {"use": "enc", "alg": "ECDH-ES"}, {"ECDH-ES"}),
    ],
)
def test_a_key_for_encryption_never_signs(
    key: Any, members: dict[str, Any], algs: set[str]
) -> None:
    """`use` or `key_ops` says so; its `alg` narrows what it opens."""
    keys = parse_keys(key_set(own(key, kid="e", **members), own(ec(), kid="s")))
    assert [one.key.kid for one in keys.signing] == ["s"]
    assert [(one.key.kid, set(one.algs)) for one in keys.decryption] == [("e", algs)]
    assert {one["kid"]: one["use"] for one in keys.published()} == {"s": "sig", "e": "enc"}


def test_only_the_first_key_for_encryption_is_published() -> None:
    """Every machine must have the next one before the provider may use it."""
    members = [own(rsa(name), kid=name, use="enc") for name in ("now", "next", "last")]
    keys = parse_keys(key_set(*members))
    assert len(keys.decryption) == 3
    assert [one["kid"] for one in keys.published()] == ["now"]
    assert keys.signer is None


@given(
    st.permutations(
        [
            own(ec(), kid="a"),
            own(rsa(), kid="b", alg="PS256", use="sig"),
            own(ed25519(), kid="c"),
            own(rsa("enc"), kid="d", use="enc", extra="x"),
        ]
    )
)
def test_nothing_private_is_published(members: list[dict[str, Any]]) -> None:
    """Whatever the file holds, only public members leave (FAPI 2.0 5.4)."""
    for published in parse_keys(key_set(*members)).published():
        assert published.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (key_set(), "one to"),
        (key_set(*[own(ec(name=str(number)), kid=str(number)) for number in range(9)]), "one to"),
        (key_set(own(ec(), kid="k"), own(rsa(), kid="k")), "two keys of one name"),
        (key_set(own(ec()), jwk(rsa())), "public key"),
        (key_set(own(ec()), "k"), "no private key"),
        (b'{"keys": "k"}', "no private key"),
        (b'{"keys": null}', "no private key"),
        (key_set(own(ec(), use="both")), "no private key"),
        (key_set(own(ec(), alg="ES384")), "does not fit"),
        (key_set(own(rsa(), use="enc", alg="RSA1_5")), "decrypt"),
        (key_set(own(rsa(), use="enc", alg="PS256")), "decrypt"),
        (key_set(own(ec(), use="enc", alg="dir")), "decrypt"),
        (key_set(own(ed25519(), use="enc")), "curve"),
    ],
)
def test_a_confusing_set_is_refused(data: bytes, problem: str) -> None:
    """No two keys of one name, no public ones, no uses and algorithms that nothing has."""
    with pytest.raises(BadClientKeyError, match=problem):
        parse_keys(data)
    assert MAX_OWN_KEYS == 8


def test_short_rsa_keys_sign_nothing() -> None:
    """Less than 2048 bits is refused (RFC 7518 3.3), in PEM and JWK."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    short = generate_private_key(65537, 1024)
    pem = short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(BadClientKeyError, match="2048 bits"):
        parse_keys(pem)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda text: f'{{"keys":[{text}]}}'.encode()),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["kty", "keys", "n", "e", "d", "crv", "x", "use", "key_ops", "alg", "kid"]
                    ),
                    inner,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps({"keys": value}).encode()),
    )
)
def test_no_file_makes_it_stumble(data: bytes) -> None:
    """Keys or one kind of error, whatever the bytes."""
    try:
        keys = parse_keys(data)
    except BadClientKeyError as error:
        assert str(error)
    else:
        assert keys.signing or keys.decryption


def test_a_kind_of_key_that_nobody_knows_is_a_fault() -> None:
    """Fuzzing found it: the library has an error of its own for an algorithm it does not know."""
    pem = rsa().as_pem(private=True)
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    assert der.count(RSA_OID) == 1
    other = base64.encodebytes(der.replace(RSA_OID, RSA_OID[:-1] + b"\x63"))
    block = b"-----BEGIN PRIVATE KEY-----\n" + other + b"-----END PRIVATE KEY-----\n"
    with pytest.raises(BadClientKeyError, match="no private key"):
        parse_keys(block)
