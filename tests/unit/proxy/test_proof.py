"""Proofs for upstreams: for which URL, how often, and which answers make a request worth another.

Proofs are read with another library; the pool that sends them is real.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.oidc.dpop import Nonces, ProofKey
from bff.proxy.proof import UpstreamProof
from bff.proxy.wire import Address, RequestHead
from tests.support.raw_upstream import Peer, raw_upstream

KEY = ProofKey.generate()
WANTED = b'DPoP error="use_dpop_nonce", error_description="x"'
HERE, THERE = Address("http", "api", 9000), Address("https", "::1", 443)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def proof_of(target: bytes = b"/a", nonces: Nonces | None = None) -> UpstreamProof:
    """Return the proofs of one request."""
    return UpstreamProof(KEY, nonces or Nonces(), "GET", target, b"DPoP at")


def claims_of(proof: bytes) -> dict[str, Any]:
    """Verify a proof by its own key; return what it says."""
    header = json.loads(base64.urlsafe_b64decode(proof.split(b".")[0] + b"=="))
    token = jwt.decode(proof.decode(), ECKey.import_key(header["jwk"]), algorithms=["ES256"])
    return token.claims


@pytest.mark.parametrize(
    ("address", "target", "url"),
    [
        (HERE, b"/", "http://api:9000/"),
        (HERE, b"/v1/a%2Fb;c=d?e=f?g", "http://api:9000/v1/a%2Fb;c=d"),
        (Address("http", "api", 80), b"/x?", "http://api/x"),
        (THERE, b"/x", "https://[::1]/x"),
        (Address("https", "api.example", 8443), b"/x", "https://api.example:8443/x"),
    ],
)
def test_the_url_is_the_one_that_is_asked(address: Address, target: bytes, url: str) -> None:
    """Scheme and authority of the address, path as it goes out, no query; and the token's hash."""
    claims = claims_of(proof_of(target).of(address))
    ath = base64.urlsafe_b64encode(hashlib.sha256(b"at").digest()).rstrip(b"=").decode()
    assert (claims["htm"], claims["htu"], claims["ath"]) == ("GET", url, ath)


def test_a_demand_is_met_at_the_address_that_made_it() -> None:
    """Once, with its nonce; another address is none the wiser."""
    nonces = Nonces()
    proof = proof_of(nonces=nonces)
    assert "nonce" not in claims_of(proof.of(HERE))
    demand = [(b"www-authenticate", WANTED), (b"dpop-nonce", b"n-1")]
    assert proof.heard(401, demand)
    assert proof.address == HERE
    assert claims_of(proof.of(HERE))["nonce"] == "n-1"
    assert not proof.heard(401, [demand[0], (b"dpop-nonce", b"n-2")])
    assert claims_of(proof_of(nonces=nonces).of(HERE))["nonce"] == "n-2"
    assert "nonce" not in claims_of(proof_of(nonces=nonces).of(THERE))


@pytest.mark.parametrize(
    ("status", "challenge", "nonce"),
    [
        (200, WANTED, b"n"),
        (400, WANTED, b"n"),
        (401, b'DPoP error="invalid_token"', b"n"),
        (401, b"DPoP", b"n"),
        (401, b'Basic error="use_dpop_nonce"', b"n"),
    ],
)
def test_other_answers_are_the_last(status: int, challenge: bytes, nonce: bytes) -> None:
    """Their nonce is kept for the next request."""
    nonces = Nonces()
    proof = proof_of(nonces=nonces)
    proof.of(HERE)
    fields = [(b"www-authenticate", challenge), (b"dpop-nonce", nonce)]
    assert not proof.heard(status, fields)
    assert proof.address is None
    assert nonces.of("http://api:9000/other") == "n"


@pytest.mark.parametrize("given", [[], [b"a", b"b"], [b"a b"], [b"\xe9"], [b""]])
def test_a_demand_without_a_nonce_is_not_met(given: list[bytes]) -> None:
    """None, several, or one that is none."""
    proof = proof_of()
    proof.of(HERE)
    fields = [(b"dpop-nonce", value) for value in given]
    assert not proof.heard(401, [(b"www-authenticate", WANTED), *fields])


def test_a_body_that_is_gone_leaves_the_nonce() -> None:
    """The request cannot be sent again; the next one can use what it was given."""
    nonces = Nonces()
    proof = proof_of(nonces=nonces)
    proof.of(HERE)
    demand = [(b"www-authenticate", WANTED), (b"dpop-nonce", b"n")]
    assert not proof.heard(401, demand, repeatable=False)
    assert nonces.of("http://api:9000/") == "n"


async def test_a_request_that_is_sent_again_has_a_proof_of_its_own() -> None:
    """Also where only the connection had died: the first may have been seen."""
    sent: list[dict[str, Any]] = []

    async def handle(peer: Peer) -> None:
        for answer in (OK, b""):
            head = await peer.head()
            sent.append(claims_of(head.partition(b"dpop: ")[2].partition(b"\r\n")[0]))
            await peer.say(answer)
            if len(sent) == 3:
                await peer.say(OK)

    async with raw_upstream(handle) as upstream:
        for _ in range(2):
            head = RequestHead(b"GET", b"/", [(b"host", b"api")])
            response = await upstream.pool.send(head, None, timeout=5, proof=proof_of(b"/"))
            assert response.status == 200
            await response.aclose()
        assert upstream.connections == 2
        assert {claims["htu"] for claims in sent} == {f"http://127.0.0.1:{upstream.port}/"}
    assert len({claims["jti"] for claims in sent}) == len(sent) == 3
