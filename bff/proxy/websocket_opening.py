"""Opens a WebSocket to the upstream of a route, with the token of whoever asks for it.

Rules: addresses take turns as for requests; a 401 for an expired token is met once by a refresh and
a second handshake, and so is one for a proof without the upstream's nonce; a browser that leaves
meanwhile is not waited for.

Source: contract, section 5; RFC 6455 section 4.1; RFC 6750 section 3.1; RFC 9449 section 9; RFC
9470 section 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.types import Receive, Scope

from bff.errors import Code, Problem, ProviderUnavailableError
from bff.proxy.admission import Admission, Grant
from bff.proxy.caller import Callers
from bff.proxy.challenge import EXPIRED, bearer_error
from bff.proxy.proof import DPOP, UpstreamProof
from bff.proxy.route import Route, target
from bff.proxy.upstream import CONNECT_TIMEOUT
from bff.proxy.upstreams import Upstreams, no_answer
from bff.proxy.websocket_client import RefusedError, UpstreamSocket, connect
from bff.proxy.websocket_handshake import read_offer
from bff.proxy.wire import Address, UpstreamError
from bff.websocket_server import TUNNEL

_UNAUTHORIZED = 401


class Opener:
    """Shakes hands with upstreams."""

    def __init__(self, admission: Admission, upstreams: Upstreams, callers: Callers) -> None:
        self._admission = admission
        self._upstreams = upstreams
        self._callers = callers

    async def open(
        self, route: Route, grant: Grant, scope: Scope, receive: Receive
    ) -> UpstreamSocket | None:
        """Return the upstream's socket, None where the browser left meanwhile.

        A 401 for an expired token is met once by a refresh; one for a sign-in that is too weak, or
        too old, raises Problem.
        """
        try:
            return await self._connect(route, grant, scope, receive)
        except RefusedError as refusal:
            renewed = await self._renewed(route, grant, refusal)
            if renewed is None:
                raise
        try:
            return await self._connect(route, renewed, scope, receive)
        except RefusedError as refusal:
            self._check_sign_in(route, grant, refusal)
            raise

    async def _renewed(self, route: Route, grant: Grant, refusal: RefusedError) -> Grant | None:
        if grant.session is None or refusal.status != _UNAUTHORIZED:
            return None
        self._check_sign_in(route, grant, refusal)
        if bearer_error(refusal.fields) != EXPIRED:
            return None
        try:
            renewed = await self._admission.renew(route, grant.session)
        except ProviderUnavailableError:
            return None
        return None if renewed.authorization == grant.authorization else renewed

    def _check_sign_in(self, route: Route, grant: Grant, refusal: RefusedError) -> None:
        problem = self._admission.step_up(route, grant.session, refusal.status, refusal.fields)
        if problem is not None:
            raise problem

    async def _connect(
        self, route: Route, grant: Grant, scope: Scope, receive: Receive
    ) -> UpstreamSocket | None:
        if grant.proof_key is None:
            return await self._connect_once(route, grant, scope, receive, None)
        assert grant.authorization is not None
        path = target(route, scope["raw_path"], scope["query_string"])
        nonces = self._upstreams.nonces
        proof = UpstreamProof(grant.proof_key, nonces, "GET", path, grant.authorization)
        while True:
            try:
                return await self._connect_once(route, grant, scope, receive, proof)
            except RefusedError as refusal:
                if not proof.heard(refusal.status, refusal.fields):
                    raise

    async def _connect_once(
        self,
        route: Route,
        grant: Grant,
        scope: Scope,
        receive: Receive,
        proof: UpstreamProof | None,
    ) -> UpstreamSocket | None:
        try:
            offer = read_offer(scope["headers"], extensions=TUNNEL in scope["extensions"])
        except ValueError:
            raise Problem(Code.BAD_REQUEST, "malformed_subprotocol") from None
        fields = self._callers.fields(route, scope, grant.authorization)
        path = target(route, scope["raw_path"], scope["query_string"])

        def call(address: Address, left: float, connecting: float) -> Awaitable[UpstreamSocket]:
            sent = fields if proof is None else [*fields, (DPOP, proof.of(address))]
            return connect(
                address, path, sent, offer, timeout=left, connect_timeout=connecting,
                tls=self._upstreams.tls.of(address),
            )  # fmt: skip

        opening = asyncio.ensure_future(
            self._upstreams.attempt(route, call, answers=(RefusedError,))
            if proof is None or proof.address is None
            else call(proof.address, route.timeout, CONNECT_TIMEOUT)
        )
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((opening, gone), return_when=asyncio.FIRST_COMPLETED)
            return await opening if opening.done() else None
        except UpstreamError as error:
            raise no_answer(route, error) from None
        finally:
            opening.cancel()
            gone.cancel()
            await asyncio.gather(opening, gone, return_exceptions=True)
