"""DPoP proofs, judged by another library and by the examples of RFC 9449."""

from __future__ import annotations

import base64
import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.oidc.dpop import MAX_ORIGINS, Nonces, ProofKey, Prover, target_of
from tests.support.clock import Clock

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
    """What is kept makes the same key again; nothing that is printed shows it."""
    key = ProofKey.generate()
    again = ProofKey.parse(key.text)
    assert (len(key.secret), again.jkt) == (32, key.jkt)
    assert (again, hash(again)) == (key, hash(key))
    assert again not in (ProofKey.generate(), key.secret)
    assert key.text not in f"{key} {key!r}"


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
    nonces.note("https://id.example/token", "one")
    nonces.note("https://id.example/par", "two")
    nonces.note("https://api.example/", "three")
    assert nonces.of("https://id.example/userinfo") == "two"
    assert nonces.of("https://api.example/orders") == "three"
    assert nonces.of("https://id.example:8443/") is None


def test_a_nonce_that_is_none_is_not_kept() -> None:
    """Missing, empty, endless, or with characters that RFC 9449 section 8.1 does not allow."""
    nonces = Nonces()
    nonces.note(URL, "good~!#")
    for bad in (None, "", "x" * 2000, 'a"b', "a b", "a\\b", "\r\n", "\u20ac"):
        nonces.note(URL, bad)
    assert nonces.of(URL) == "good~!#"


@given(st.text(max_size=40))
def test_no_answer_can_put_anything_else_into_a_proof(text: str) -> None:
    """Whatever a server names as its nonce: it is used as it is, or not at all."""
    nonces = Nonces()
    prover = Prover(ProofKey.generate(), nonces, "POST")
    prover.proof(URL)
    again = prover.heard(text, demanded=True)
    claims = opened(prover.proof(URL)).claims
    assert claims.get("nonce") == (text if again else None)
    assert not again or (text.isascii() and text.isprintable() and not set(text) & set(' "\\'))


def test_nonces_are_bounded() -> None:
    """Who is asked least recently is forgotten first."""
    nonces = Nonces()
    for number in range(MAX_ORIGINS + 10):
        nonces.note(f"https://h{number}.example/", "n")
    assert nonces.of("https://h0.example/") is None
    assert nonces.of(f"https://h{MAX_ORIGINS + 9}.example/") == "n"


def test_a_request_that_is_sent_again_is_proven_anew() -> None:
    """Another `jti`, the time it is then, the nonce that was demanded, the same token."""
    clock = Clock(NOW)
    prover = Prover(ProofKey.generate(), Nonces(), "GET", "token", clock=clock)
    first = opened(prover.proof(URL)).claims
    assert prover.heard("fresh", demanded=True)
    clock.advance(5)
    second = opened(prover.proof(URL)).claims
    assert first.pop("jti") != second.pop("jti")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"token").digest()).rstrip(b"=").decode()
    assert first == {"htm": "GET", "htu": URL, "iat": 1_800_000_000, "ath": digest}
    assert second == {**first, "iat": 1_800_000_005, "nonce": "fresh"}


def test_a_nonce_that_was_used_in_vain_is_not_tried_again() -> None:
    """Only another one than that of the proof is worth a second try."""
    nonces = Nonces()
    nonces.note(URL, "old")
    prover = Prover(ProofKey.generate(), nonces, "POST")
    prover.proof(URL)
    for bad in ("old", None, 'a"b'):
        assert not prover.heard(bad, demanded=True)
    assert prover.heard("new", demanded=True)
    prover.proof(URL)
    assert not prover.heard("newer", demanded=True), "there is one more attempt, not two"
    assert nonces.of(URL) == "newer"


def test_the_nonce_of_a_good_answer_is_kept() -> None:
    """Nothing is sent again for it; the next request begins with it."""
    nonces = Nonces()
    prover = Prover(ProofKey.generate(), nonces, "POST")
    prover.proof(URL)
    assert not prover.heard("next", demanded=False)
    assert nonces.of(URL) == "next"


def test_two_requests_at_once_are_both_worth_another_try() -> None:
    """That one has heard a nonce already does not keep the other from using it."""
    nonces = Nonces()
    one, two = (Prover(ProofKey.generate(), nonces, "POST") for _ in range(2))
    for prover in (one, two):
        prover.proof(URL)
    assert one.heard("same", demanded=True)
    assert two.heard("same", demanded=True)


def test_a_nonce_that_is_good_once_goes_to_the_request_it_was_given_to() -> None:
    """Nobody else uses it meanwhile; what others are given is not used for it; nor elsewhere."""
    nonces = Nonces()
    prover = Prover(ProofKey.generate(), nonces, "POST")
    prover.proof(URL)
    assert prover.heard("mine", demanded=True)
    assert nonces.of(URL) is None
    nonces.note(URL, "of another")
    assert opened(prover.proof(URL)).claims["nonce"] == "mine"
    assert not prover.heard(None, demanded=False)
    assert nonces.of(URL) == "mine", "it was good, and no other has come: it may be good for more"
    assert "nonce" not in opened(prover.proof("https://other.example/token")).claims
