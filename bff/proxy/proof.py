"""The proof that a request to an upstream carries where its token is bound to a key. Pure.

Rules: a proof is for one sending of a request, to one address: whoever sends it again asks for
another; `htu` is the address and path as they go on the wire; an upstream that demands a nonce is
asked once more, at the address that gave it, since the next one may know nothing of it. A WebSocket
is proven as the HTTP request that opens it.

Source: RFC 9449 sections 4.2, 7.1 and 9.
"""

from __future__ import annotations

from bff.oidc.dpop import Nonces, ProofKey, Prover
from bff.proxy.challenge import NONCE_WANTED, bearer_error
from bff.proxy.headers import Headers
from bff.proxy.wire import Address

DPOP = b"dpop"
_NONCE = b"dpop-nonce"
_UNAUTHORIZED = 401


class UpstreamProof:
    """Proves one request, at whichever address of its upstream it is sent.

    `target` and `authorization` are as they go out. `address` is the one that a request must go to
    when it is sent again; None where any does.
    """

    def __init__(
        self, key: ProofKey, nonces: Nonces, method: str, target: bytes, authorization: bytes
    ) -> None:
        access_token = authorization.partition(b" ")[2].decode("ascii")
        self._prover = Prover(key, nonces, method, access_token)
        self._path = target.partition(b"?")[0].decode("latin-1")
        self._asked: Address | None = None
        self.address: Address | None = None

    def of(self, address: Address) -> bytes:
        """Return the value of the `DPoP` field for sending the request to an address, once."""
        self._asked = address
        origin = f"{address.scheme}://{address.authority.decode('ascii')}"
        return self._prover.proof(origin + self._path).encode("ascii")

    def heard(self, status: int, fields: Headers, *, repeatable: bool = True) -> bool:
        """Keep the nonce of the answer; whether the request is to be sent again with it.

        It is not where its body is gone, so that it is not `repeatable`.
        """
        given = [value for name, value in fields if name == _NONCE]
        nonce = given[0].decode("latin-1") if len(given) == 1 else None
        wanted = status == _UNAUTHORIZED and bearer_error(fields) == NONCE_WANTED
        if not self._prover.heard(nonce, demanded=wanted and repeatable):
            return False
        self.address = self._asked
        return True
