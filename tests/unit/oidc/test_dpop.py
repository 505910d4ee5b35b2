"""DPoP proofs, judged by another library and by the examples of RFC 9449."""

from __future__ import annotations

import base64
import hashlib
import json
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.oidc.dpop import MAX_ORIGINS, Nonces, ProofKey, Prover, target_of

NOW = 1_800_000_000.9
URL = "https://server.example.com/token"


def opened(proof: str) -> jwt.Token:
    """Verify a proof by the key in its own header."""
    header = base64.urlsafe_b64decode(proof.split(".", maxsplit=1)[0] + "==")
    key = ECKey.import_key(json.loads(header)["jwk"])
    return jwt.decode(proof, key, algorithms=["ES256"])


def test_a_proof_says_what_it_is_for() -> None:
    """Type, algorithm and public key in the header; method, URL, time and id in the claims."""
    key = ProofKey.generate()
    token = opened(key.proof("POST", f"{URL}?a=b#c", now=NOW, jti="one"))
    assert token.header == {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk}
    assert "d" not in token.header["jwk"]
    assert token.claims == {"jti": "one", "htm": "POST", "htu": URL, "iat": 1_800_000_000}


def test_a_proof_with_a_token_carries_its_hash() -> None:
    """`ath` as in the example of RFC 9449 section 7.1, and the nonce."""
    access = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    claims = opened(
        ProofKey.generate().proof("GET", URL, now=NOW, jti="x", access_token=access, nonce="n-1")
    ).claims
    assert claims["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert claims["nonce"] == "n-1"


def test_the_thumbprint_is_that_of_the_public_key() -> None:
    """`jkt` agrees with another library's RFC 7638."""
    key = ProofKey.generate()
    assert key.jkt == ECKey.import_key(dict(key.jwk)).thumbprint()


def test_a_key_is_kept_in_32_bytes() -> None:
    """What is kept makes the same key again."""
    key = ProofKey.generate()
    again = ProofKey(key.secret)
    assert (len(key.secret), again.jkt) == (32, key.jkt)


def test_a_small_private_key_keeps_its_size() -> None:
    """Leading zeros are not lost: secret, coordinates and signature have fixed sizes."""
    for number in range(1, 40):
        key = ProofKey(number.to_bytes(32, "big"))
        assert all(len(key.jwk[name]) == 43 for name in ("x", "y"))
        opened(key.proof("GET", URL, now=NOW, jti="x"))


@given(st.text(alphabet="abc/?#&%=.", max_size=30))
def test_query_and_fragment_are_no_part_of_the_target(rest: str) -> None:
    """Nothing from the first `?` or `#` on is in `htu`."""
    target = target_of(f"https://api.example/{rest}")
    assert target.startswith("https://api.example/")
    assert not set(target) & set("?#")


def test_each_origin_has_its_own_nonce() -> None:
    """Those of provider and upstream are apart; the last one given counts."""
    nonces = Nonces()
    assert nonces.note("https://id.example/token", "one")
    assert nonces.note("https://id.example/token", "two")
    assert not nonces.note("https://id.example/par", "two")
    assert nonces.note("https://api.example/", "three")
    assert nonces.of("https://id.example/userinfo") == "two"
    assert nonces.of("https://api.example/orders") == "three"
    assert nonces.of("https://id.example:8443/") is None


def test_a_nonce_that_is_none_is_not_kept() -> None:
    """Missing, empty, endless, or with characters that RFC 9449 section 8.1 does not allow."""
    nonces = Nonces()
    for bad in (None, "", "x" * 2000, 'a"b', "a b", "a\\b", "\r\n", "\u20ac"):
        assert not nonces.note(URL, bad)
    assert nonces.of(URL) is None


def test_nonces_are_bounded() -> None:
    """Who is asked least recently is forgotten first."""
    nonces = Nonces()
    for number in range(MAX_ORIGINS + 10):
        nonces.note(f"https://h{number}.example/", "n")
    assert nonces.of("https://h0.example/") is None
    assert nonces.of(f"https://h{MAX_ORIGINS + 9}.example/") == "n"


def test_a_prover_uses_the_nonce_of_the_origin_and_never_an_id_twice() -> None:
    """Two proofs differ in `jti`, and follow the nonce."""
    prover = Prover(ProofKey.generate(), Nonces(), lambda: NOW, lambda: str(uuid4()))
    first = opened(prover.proof("GET", URL)).claims
    prover.nonces.note(URL, "fresh")
    second = opened(prover.proof("GET", URL, "token")).claims
    assert first["jti"] != second["jti"]
    assert ("nonce" in first, second["nonce"]) == (False, "fresh")
    digest = hashlib.sha256(b"token").digest()
    assert second["ath"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
