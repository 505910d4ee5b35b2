"""From a route to the client that carries its requests: one pool an address, shared by all routes.

Rules: a route with one address and no circuit is given that address's pool itself, and pays for
nothing else here; every other has a balancer of its own, so that a route which times out takes no
address away from another; a request goes on to the next address while nothing of it was sent, or
while it can be sent again (RFC 9110 section 9.2.2), within the time that the route gives it in all;
an address that is left out, or back, is logged once, not for every request.

For WebSockets, and whatever else opens connections of its own, `attempt` makes the same choice:

    upstream = await upstreams.attempt(
        route,
        lambda address, left, connecting: connect(address, target, fields, left, connecting),
        answers=(InvalidStatus,),
    )

Source: contract, section 5; RFC 9110 section 9.2.2.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import structlog

from bff.errors import Code, Problem
from bff.oidc.dpop import Nonces
from bff.proxy.balancer import Balancer, Pick
from bff.proxy.proof import UpstreamProof
from bff.proxy.response import UpstreamResponse
from bff.proxy.route import Route
from bff.proxy.upstream import CONNECT_TIMEOUT, UpstreamPool
from bff.proxy.upstream_tls import UpstreamTls
from bff.proxy.wire import (
    IDEMPOTENT,
    Address,
    RequestHead,
    UpstreamConnectTimeoutError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)

log = structlog.get_logger("bff.proxy")
DEFAULT_FAILURES = 3
TRIAL_CONNECT_TIMEOUT = 2.0
Answer = TypeVar("Answer")
Call = Callable[[Address, float, float], Awaitable[Answer]]
Clock = Callable[[], float]
_NOTHING_SENT = (UpstreamUnreachableError, UpstreamConnectTimeoutError)


def no_answer(route: Route, error: UpstreamError) -> Problem:
    """Log why the upstream of a route gave no answer; return what its caller is told instead."""
    kind = type(error).__name__
    log.warning("upstream.failed", route=route.name, kind=kind, detail=str(error))
    if isinstance(error, UpstreamTimeoutError):
        return Problem(Code.UPSTREAM_TIMEOUT, "upstream_slow")
    return Problem(Code.UPSTREAM_UNAVAILABLE, "upstream_failed")


class Upstreams:
    """The clients of all routes of one worker. `clock` is monotonic, in seconds.

    `with_certificate` is the TLS context that shows our certificate, where there is one.
    """

    def __init__(
        self, clock: Clock = time.monotonic, with_certificate: ssl.SSLContext | None = None
    ) -> None:
        self._clock = clock
        self.tls = UpstreamTls(with_certificate)
        self.nonces = Nonces()
        self._pools: dict[Address, UpstreamPool] = {}
        # By identity, which costs nothing; a route that is known is kept, so that no other has it.
        self._routes: list[Route] = []
        self._senders: dict[int, UpstreamPool | BalancedUpstream] = {}

    def of(self, route: Route) -> UpstreamPool | BalancedUpstream:
        """Return the client for the requests of a route."""
        sender = self._senders.get(id(route))
        return self._make(route) if sender is None else sender

    async def attempt(
        self,
        route: Route,
        call: Call[Answer],
        *,
        answers: tuple[type[Exception], ...] = (),
    ) -> Answer:
        """Call with an address, the seconds left, and those to connect in, until one answers.

        For what can be sent again, such as a handshake. `answers` are the exceptions that tell of
        an upstream that lives. Raises what the last call raised; Problem where all are left out.
        """
        sender = self.of(route)
        if isinstance(sender, UpstreamPool):
            return await call(route.upstream, route.timeout, min(CONNECT_TIMEOUT, route.timeout))
        return await sender.attempt(call, timeout=route.timeout, repeatable=True, answers=answers)

    async def aclose(self) -> None:
        """Close every connection to an upstream."""
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))

    def pool(self, address: Address) -> UpstreamPool:
        """Return the connections to an address, the same for all routes."""
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = UpstreamPool(address, ssl_context=self.tls.of(address))
        return pool

    def _make(self, route: Route) -> UpstreamPool | BalancedUpstream:
        balanced = route.alternates or route.circuit is not None
        sender = (
            BalancedUpstream(route, self.pool, self._clock)
            if balanced
            else self.pool(route.upstream)
        )
        self._routes.append(route)
        self._senders[id(route)] = sender
        return sender


class BalancedUpstream:
    """The client of a route with several addresses, or with a circuit."""

    def __init__(self, route: Route, pool: Callable[[Address], UpstreamPool], clock: Clock) -> None:
        self._route = route.name
        self._count = len(route.addresses)
        self._balancer = Balancer(route.addresses, route.circuit or DEFAULT_FAILURES)
        self._pool = pool
        self._clock = clock

    async def send(
        self,
        head: RequestHead,
        body: AsyncIterator[bytes] | bytes | None,
        *,
        timeout: float,  # noqa: ASYNC109 - a deadline over several tries
        silence: float | None = None,
        length: int | None = None,
        gone: Callable[[], Awaitable[None]] | None = None,
        proof: UpstreamProof | None = None,
    ) -> UpstreamResponse:
        """Send a request as `UpstreamPool.send` does, to one address after another.

        A `proof` may be for one address alone. `timeout` bounds all tries together. Raises the
        same; Problem where all are left out.
        """

        def call(address: Address, left: float, connecting: float) -> Awaitable[UpstreamResponse]:
            fields = [
                (name, address.authority if name == b"host" else value)
                for name, value in head.headers
            ]
            return self._pool(address).send(
                RequestHead(head.method, head.target, fields),
                body,
                timeout=left,
                silence=timeout if silence is None else silence,
                length=length,
                gone=gone,
                connect_timeout=connecting,
                proof=proof,
            )

        if proof is not None and proof.address is not None:
            return await call(proof.address, timeout, CONNECT_TIMEOUT)
        repeatable = head.method in IDEMPOTENT and (body is None or isinstance(body, bytes))
        return await self.attempt(call, timeout=timeout, repeatable=repeatable)

    async def attempt(
        self,
        call: Call[Answer],
        *,
        timeout: float,  # noqa: ASYNC109 - a deadline over several tries
        repeatable: bool,
        answers: tuple[type[Exception], ...] = (),
    ) -> Answer:
        """Call with an address, the seconds left, and those to connect in, until one answers."""
        started = self._clock()
        deadline = started + timeout
        pick = self._balancer.choose(started)
        if pick is None:
            seconds = max(1, math.ceil(self._balancer.wait(started)))
            raise Problem(
                Code.UPSTREAM_UNAVAILABLE,
                "upstream_ejected",
                headers=(("Retry-After", str(seconds)),),
            )
        tried: list[int] = []
        while True:
            left = deadline - pick.at
            connecting = min(left / (self._count - len(tried)), CONNECT_TIMEOUT)
            if pick.trial and self._count > 1:
                connecting = min(connecting, TRIAL_CONNECT_TIMEOUT)
            try:
                answer = await call(pick.address, left, connecting)
            except answers:
                self._answered(pick)
                raise
            except UpstreamError as error:
                self._failed(pick, error)
                tried.append(pick.number)
                now = self._clock()
                again = now < deadline and (
                    isinstance(error, _NOTHING_SENT)
                    or (repeatable and isinstance(error, UpstreamUnavailableError))
                )
                pick = self._balancer.choose(now, tried) if again else None
                if pick is None:
                    raise
            except BaseException:
                self._balancer.dropped(pick)
                raise
            else:
                self._answered(pick)
                return answer

    def _answered(self, pick: Pick) -> None:
        if self._balancer.answered(pick, self._clock()):
            log.info(
                "upstream.back", route=self._route, address=pick.address.authority.decode("ascii")
            )

    def _failed(self, pick: Pick, error: UpstreamError) -> None:
        at_once = self._count > 1 and isinstance(error, _NOTHING_SENT)
        seconds = self._balancer.failed(pick, self._clock(), at_once=at_once)
        if seconds is not None:
            log.warning(
                "upstream.ejected",
                route=self._route,
                address=pick.address.authority.decode("ascii"),
                seconds=seconds,
                kind=type(error).__name__,
                detail=str(error),
            )
