"""Who signed this? The layouts of keys that providers publish, and the ways to lie about one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.errors import UnsupportedAlgorithmError

from bff.oidc.json import BadJsonError
from bff.oidc.keys import (
    MAX_KEYS,
    MAX_TOKEN,
    MAX_TRIED,
    BadTokenError,
    OneAlgorithm,
    UnknownKeyError,
    VerificationKey,
    client_secret_key,
    import_keys,
    unverified_claims,
    verify,
)
from tests.support import jose
from tests.support.jose import b64, ec, ed25519, forge, jwk, rsa, sign, unb64

CLAIMS = {"sub": "alice"}
SECRET = "a client secret that is long enough."


def keys(*members: Any) -> list[VerificationKey]:
    """Return what we make of a JWK Set with these members."""
    return import_keys({"keys": list(members)})[0]


def suite_layout() -> list[dict[str, Any]]:
    """Return the certification suite's JWK Set: no `kid` anywhere, one key a kind, two for enc."""
    return [
        jwk(rsa(), use="sig", alg="RS256"),
        jwk(ec(), use="sig"),
        jwk(ec("secp256k1"), use="sig"),
        jwk(ed25519(), use="sig"),
        jwk(rsa("enc"), use="enc", alg="RSA-OAEP"),
        jwk(ec("P-256", "enc"), use="enc", alg="ECDH-ES"),
    ]


SIGNERS = [
    ("RS256", rsa), ("RS384", rsa), ("RS512", rsa), ("PS256", rsa), ("PS384", rsa), ("PS512", rsa),
    ("ES256", ec), ("ES384", lambda: ec("P-384")), ("ES512", lambda: ec("P-521")),
    ("EdDSA", ed25519), ("Ed25519", ed25519),
]  # fmt: skip


@pytest.mark.parametrize(("alg", "signer"), SIGNERS)
def test_every_algorithm_that_can_be_configured_verifies(alg: str, signer: Any) -> None:
    """A token signed with the configured algorithm is believed, and carries what it said."""
    token = sign(CLAIMS, signer(), alg, kid="k", typ="JWT")
    verified = verify(token, alg, keys(jwk(signer(), kid="k")))
    assert verified.claims == CLAIMS
    assert verified.header == {"alg": alg, "kid": "k", "typ": "JWT"}
    assert verified.raw == token


def test_hs256_verifies_with_the_client_secret() -> None:
    """HS256 uses the octets of the client secret (OIDC Core 10.1)."""
    key = client_secret_key(SECRET)
    assert verify(sign(CLAIMS, key.key, "HS256", kid="any"), "HS256", [key]).claims == CLAIMS
    with pytest.raises(UnknownKeyError):
        verify(sign(CLAIMS, key.key, "HS256"), "HS256", [client_secret_key(SECRET + "x")])


@pytest.mark.parametrize(
    ("alg", "signer"),
    [("RS256", rsa), ("PS256", rsa), ("ES256", ec), ("EdDSA", ed25519), ("Ed25519", ed25519)],
)
def test_a_token_without_kid_finds_the_one_key_of_its_kind(alg: str, signer: Any) -> None:
    """The suite's layout: among kid-less keys of many kinds exactly one fits (note T2)."""
    layout = suite_layout()
    if alg == "PS256":
        layout[0].pop("alg")
    assert verify(sign(CLAIMS, signer(), alg), alg, keys(*layout)).claims == CLAIMS


def test_a_token_without_kid_is_tried_against_several() -> None:
    """Three RSA keys without kid: the second one made the signature."""
    layout = [*suite_layout(), jwk(rsa("second"), use="sig"), jwk(rsa("third"), use="sig")]
    assert verify(sign(CLAIMS, rsa("second")), "RS256", keys(*layout)).claims == CLAIMS


def test_only_so_many_keys_are_tried() -> None:
    """A set with more candidates than the limit is refused, whoever signed."""
    few = [jwk(rsa(), n_copy=number) for number in range(MAX_TRIED)]
    assert verify(sign(CLAIMS), "RS256", keys(*few)).claims == CLAIMS
    with pytest.raises(BadTokenError, match="too_many_keys"):
        verify(sign(CLAIMS), "RS256", keys(*few, jwk(rsa())))
    named = keys(*few, jwk(rsa()), jwk(rsa(), kid="k"))
    assert verify(sign(CLAIMS, kid="k"), "RS256", named).claims == CLAIMS


def test_keys_of_other_curves_are_no_candidates() -> None:
    """However many there are, they are not tried."""
    others = [jwk(ec("P-384"))] * (MAX_TRIED + 1)
    assert verify(sign(CLAIMS, ec(), "ES256"), "ES256", keys(*others, jwk(ec()))).claims == CLAIMS


def test_decoys_with_the_same_kid_do_not_confuse() -> None:
    """Keys of other types, curves, uses and algorithms may share the kid (FAPI2 layout)."""
    decoys = [
        jwk(ec(), kid="k"),
        jwk(ed25519(), kid="k"),
        jwk(rsa("second"), kid="k", use="enc"),
        jwk(rsa("third"), kid="k", alg="PS256"),
        jwk(ec("P-384"), kid="k"),
        {"kty": "oct", "k": b64(b"x" * 32), "kid": "k"},
    ]
    layout = keys(*decoys, jwk(rsa(), kid="k", alg="RS256"))
    assert verify(sign(CLAIMS, kid="k"), "RS256", layout).claims == CLAIMS
    assert verify(sign(CLAIMS, ec(), "ES256", kid="k"), "ES256", layout).claims == CLAIMS


def test_two_keys_of_one_kid_are_both_tried() -> None:
    """A provider that gives a new key the old kid is still understood."""
    layout = keys(jwk(rsa("second"), kid="k"), jwk(rsa(), kid="k"))
    assert verify(sign(CLAIMS, kid="k"), "RS256", layout).claims == CLAIMS


UNUSABLE: list[Any] = [
    None,
    7,
    "key",
    [],
    {},
    {"kty": "RSA"},
    {"kty": "RSA", "n": 7, "e": "AQAB"},
    {"kty": "RSA", "n": "!!", "e": "AQAB"},
    {"kty": "RSA", "n": "", "e": ""},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": 256, "x": "AA", "y": "AA"},
    {"kty": "EC", "x": "AA", "y": "AA"},
    {"kty": "OKP", "crv": "X25519", "x": b64(b"x" * 32)},
    {"kty": "OKP", "crv": "Ed448", "x": b64(b"x" * 57)},
    {"kty": "OKP", "crv": "Ed25519"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    {"kty": "oct", "k": "AAAA"},
    {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    {"kty": None},
    {"kty": ["RSA"]},
]


@pytest.mark.parametrize("member", UNUSABLE, ids=str)
def test_a_key_that_cannot_be_used_hides_no_other(member: Any) -> None:
    """One strange member, and even a set of them, leaves the good keys usable (note T5)."""
    usable, skipped = import_keys({"keys": [member, jwk(rsa(), kid="k"), member]})
    assert [key.kid for key in usable] == ["k"]
    assert skipped == 2
    assert verify(sign(CLAIMS), "RS256", usable).claims == CLAIMS


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"}, {"use": 7}, {"use": ["sig"]}, {"use": ""},
        {"key_ops": ["encrypt"]}, {"key_ops": []}, {"key_ops": "verify"},
        {"key_ops": {"verify": 1}},
        {"kid": 7}, {"kid": ["k"]}, {"alg": 7},
    ],
)  # fmt: skip
def test_a_key_that_is_for_something_else_is_no_key(changes: dict[str, Any]) -> None:
    """`use`, `key_ops`, and members of a wrong type rule a key out."""
    assert import_keys({"keys": [jwk(rsa(), **changes)]}) == ([], 1)


@pytest.mark.parametrize(
    "changes", [{"use": "sig"}, {"key_ops": ["verify"]}, {"key_ops": ["sign", "verify"]}, {"x": 1}]
)
def test_a_key_for_signatures_is_used(changes: dict[str, Any]) -> None:
    """`use: sig` and `key_ops` with `verify` are as good as none; other members do not matter."""
    member = jwk(rsa())
    assert len(keys({**member, **{k: v for k, v in changes.items() if k != "x"}})) == 1


def test_short_rsa_keys_are_not_used() -> None:
    """An RSA key below 2048 bits is skipped, without a warning on the console."""
    short = jwk(rsa())
    modulus = unb64(short["n"])[:128]
    assert import_keys({"keys": [{**short, "n": b64(modulus)}]}) == ([], 1)
    assert import_keys({"keys": [{**short, "n": b64(bytes(128) + modulus)}]}) == ([], 1)


def test_only_the_public_half_is_taken() -> None:
    """A provider that publishes its private key does not make us hold it."""
    found = keys(rsa().as_dict(private=True))
    assert not found[0].key.is_private


def test_only_so_many_keys_are_read() -> None:
    """Members beyond the limit are not looked at, and are counted as skipped."""
    members = [{"kty": "none"}] * MAX_KEYS
    assert import_keys({"keys": [*members, jwk(rsa())]}) == ([], MAX_KEYS + 1)


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"Keys": []}]
)
def test_what_is_no_key_set_is_refused(document: dict[str, Any]) -> None:
    """Without an array of keys it is no JWK Set (RFC 7517 5)."""
    with pytest.raises(BadJsonError):
        import_keys(document)


def test_the_empty_set_is_a_set() -> None:
    """A provider may have no keys just now."""
    assert import_keys({"keys": []}) == ([], 0)


def test_an_unknown_key_is_told_from_a_bad_token() -> None:
    """Where newer keys might help, the error says so; kid and key must both fit."""
    with pytest.raises(UnknownKeyError, match="unknown_key"):
        verify(sign(CLAIMS, kid="new"), "RS256", keys(jwk(rsa(), kid="old")))
    with pytest.raises(UnknownKeyError, match="unknown_key"):
        verify(sign(CLAIMS, kid="k"), "RS256", keys(jwk(rsa())))
    with pytest.raises(UnknownKeyError, match="signature"):
        verify(sign(CLAIMS, rsa("second"), kid="k"), "RS256", keys(jwk(rsa(), kid="k")))
    with pytest.raises(UnknownKeyError, match="unknown_key"):
        verify(sign(CLAIMS), "RS256", [])


RSA_PEM = rsa().as_pem(private=False)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (forge({"alg": "none"}, CLAIMS), "alg"),
        (forge({"alg": "NONE"}, CLAIMS), "alg"),
        (forge({"alg": "none", "kid": "k"}, CLAIMS), "alg"),
        (forge({}, CLAIMS), "alg"),
        (forge({"alg": None}, CLAIMS), "alg"),
        (forge({"alg": ["RS256"]}, CLAIMS), "alg"),
        (forge({"alg": "rs256"}, CLAIMS), "alg"),
        (forge({"alg": "HS256"}, CLAIMS, RSA_PEM), "alg"),
        (forge({"alg": "HS256", "kid": "k"}, CLAIMS, unb64(jwk(rsa())["n"])), "alg"),
        (forge({"alg": "HS256"}, CLAIMS, json.dumps(jwk(rsa())).encode()), "alg"),
        (sign(CLAIMS, alg="PS256", kid="k"), "alg"),
        (sign(CLAIMS, ec(), "ES256", kid="e"), "alg"),
        (sign(CLAIMS, alg="RS512", kid="k"), "alg"),
        (sign(CLAIMS, kid=7), "kid"),
        (sign(CLAIMS, kid=["k"]), "kid"),
        (sign(CLAIMS, kid="k", crit=["exp"], exp=1), "crit"),
        (forge({"alg": "RS256", "crit": []}, CLAIMS, b"x"), "crit"),
        (forge({"alg": "RS256", "crit": ["b64"], "b64": False}, CLAIMS, b"x"), "crit"),
        (forge({"alg": "RS256", "b64": False}, CLAIMS, b"x"), "crit"),
        (forge({"alg": "RS256", "b64": True}, CLAIMS, b"x"), "crit"),
        (forge(b'{"alg":"RS256","alg":"none"}', CLAIMS), "malformed"),
        (forge(b'{"alg":"none","alg":"RS256"}', CLAIMS), "malformed"),
        (forge(b"[]", CLAIMS), "malformed"),
        (forge(b"nonsense", CLAIMS), "malformed"),
        (forge(b"", CLAIMS), "malformed"),
        (forge(b'{"alg":"RS256","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", CLAIMS), "malformed"),
        ("", "malformed"),
        ("a", "malformed"),
        ("a.b", "malformed"),
        ("a.b.c.d", "malformed"),
        ("a.b.c.d.e", "malformed"),
        ("..", "malformed"),
        ("!.e30.", "malformed"),
        ("\u00e9.e30.", "malformed"),
        (sign(CLAIMS) + ".", "malformed"),
        ("e30." + "A" * MAX_TOKEN + ".", "malformed"),
    ],
)  # fmt: skip
def test_a_token_that_nothing_can_mend_is_refused(token: str, reason: str) -> None:
    """Wrong algorithms, unsigned tokens, key confusion, `crit` and malformed text are refused."""
    layout = keys(jwk(rsa(), kid="k"), jwk(rsa()), jwk(ec(), kid="e"))
    with pytest.raises(BadTokenError) as caught:
        verify(token, "RS256", layout)
    assert caught.value.reason == reason
    assert not isinstance(caught.value, UnknownKeyError)


@pytest.mark.parametrize(
    "secret", [RSA_PEM, RSA_PEM.strip(), unb64(jwk(rsa())["n"]), json.dumps(jwk(rsa())).encode()]
)
def test_a_public_key_is_no_hmac_secret(secret: bytes) -> None:
    """HS256 with any form of the public key as the secret is never believed, under any policy."""
    token = forge({"alg": "HS256"}, CLAIMS, secret)
    for alg in ("RS256", "ES256", "EdDSA", "HS256"):
        with pytest.raises(BadTokenError):
            verify(token, alg, keys(jwk(rsa())))
    with pytest.raises(BadTokenError):
        verify(token, "HS256", [client_secret_key(SECRET)])


def test_headers_that_bring_their_own_key_are_not_looked_at() -> None:
    """`jwk`, `jku`, `x5u` and `x5c` of an attacker's key do not help."""
    evil = rsa("evil")
    certificate = b64(evil.as_der(private=False)) * 4
    headers: dict[str, Any] = {
        "jwk": jwk(evil), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u",
        "x5c": [certificate],
    }  # fmt: skip
    with pytest.raises(UnknownKeyError, match="signature"):
        verify(sign(CLAIMS, evil, **headers), "RS256", keys(jwk(rsa())))


def test_long_headers_of_honest_providers_are_read() -> None:
    """A certificate chain in the header of a properly signed token does no harm."""
    token = sign(CLAIMS, kid="k", x5c=["A" * 4000], x5t="x" * 27, extra={"a": 1})
    assert verify(token, "RS256", keys(jwk(rsa(), kid="k"))).claims == CLAIMS


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"nonsense", b'{"sub":"alice","sub":"mallory"}', b'{"sub":"\\ud800"}',
     b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"],
)  # fmt: skip
def test_a_signed_payload_must_be_one_clear_object(payload: bytes) -> None:
    """Even the provider's own signature does not make an ambiguous payload good."""
    with pytest.raises(BadTokenError, match="payload"):
        verify(sign(payload), "RS256", keys(jwk(rsa())))


@given(st.data())
@settings(max_examples=200)
def test_no_changed_token_is_believed(data: st.DataObject) -> None:
    """A token with any byte of header, payload or signature changed is refused."""
    token = sign(CLAIMS, ec(), "ES256")
    parts = [bytearray(unb64(part)) for part in token.split(".")]
    part = data.draw(st.sampled_from(parts))
    position = data.draw(st.integers(0, len(part) - 1))
    part[position] ^= data.draw(st.integers(1, 255))
    changed = ".".join(b64(bytes(part)) for part in parts)
    with pytest.raises(BadTokenError):
        verify(changed, "ES256", keys(jwk(ec())))


@given(
    st.one_of(
        st.text(max_size=80), st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
    )
)
def test_no_text_makes_it_stumble(text: str) -> None:
    """Whatever is handed in as a token is refused with a reason."""
    with pytest.raises(BadTokenError):
        verify(text, "RS256", keys(jwk(rsa())))


def test_the_registry_knows_one_algorithm() -> None:
    """The library cannot be talked into another one."""
    with pytest.raises(UnsupportedAlgorithmError):
        OneAlgorithm("RS256").get_alg("none")


def test_a_token_of_ours_is_read_again_without_keys() -> None:
    """Claims of a token that was verified and sealed are read without checking it again."""
    assert unverified_claims(sign(jose.id_claims())) == jose.id_claims()
    with pytest.raises(BadTokenError):
        unverified_claims("a.!.c")
