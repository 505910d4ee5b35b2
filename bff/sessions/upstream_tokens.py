"""Access tokens for one upstream alone, where a route asks for its own audience.

They are got in one of two ways (`bff.oidc.token_target`): by a refresh that names a `resource`, or
in exchange for the session's access token. They are kept in the session's record, sealed with it:
what ends the session removes them in the same step, a worker finds them where it finds the session,
and a refresh token that was rotated on the way is saved by the same compare-and-set.

Because a refresh for a resource may rotate the refresh token, it holds the same lease as a refresh
of the session's own tokens: a refresh token is never used twice. In one process all who wait for
the same token of a session share one flight. What was exchanged is dropped when the session's own
access token is refreshed; what was got by `resource` lives until its own end.

Only a refresh token that is no longer good ends the session, as at any refresh. A target that the
provider refuses (`invalid_target` of RFC 8707) is the operator's to mend: those requests are 502,
the session stays, and the provider is asked again after a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

import structlog

from bff.errors import Code, Problem, ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.grants import Grant, RefusedError
from bff.oidc.provider import Provider
from bff.oidc.token_target import TokenTarget
from bff.sessions.refresh import SESSION_PAUSE, STALE_AFTER, Refresher
from bff.sessions.session import Session, UpstreamToken
from bff.sessions.store import SessionStore

Flight = asyncio.Task[Session | None]

log = structlog.get_logger("bff.upstream_token")


class UpstreamTokens:
    """The tokens of all sessions for upstreams with their own."""

    def __init__(
        self,
        provider: Provider,
        store: SessionStore,
        refresher: Refresher,
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._store = store
        self._refresher = refresher
        self._clock = clock
        self._flights: dict[tuple[str, str], Flight] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._refused_until: dict[tuple[str, str], float] = {}

    async def fresh(
        self, session: Session, target: TokenTarget, *, force: bool = False
    ) -> Session | None:
        """Return the session with a token for a target; None where it has ended.

        With `force` another one than it has now. A token that lives serves while its successor is
        not to be had; otherwise raises ProviderUnavailableError, or Problem where the provider
        refuses.
        """
        now = self._clock()
        held = session.upstream_tokens.get(target.name)
        living = None if held is None or force or held.expired(now) else held
        if living is not None and not living.due(now):
            return session
        try:
            if not force and self._refresher.resting:
                raise ProviderUnavailableError("provider_failing")
            if not force and now < self._refused_until.get((session.key, target.name), 0):
                raise RefusedError("refused_before")
            flight = self._flight(session, target, held)
            if living is not None:
                await asyncio.wait([flight], timeout=STALE_AFTER)
                if not flight.done():
                    return session
            current = await asyncio.shield(flight)
        except ProviderUnavailableError:
            if living is not None:
                return session
            raise
        except RefusedError as error:
            if living is not None:
                return session
            raise Problem(Code.UPSTREAM_UNAVAILABLE, f"no_token_{error.reason}") from None
        if current is not None and target.name not in current.upstream_tokens:
            raise ProviderUnavailableError("upstream_token_overtaken")
        return current

    async def aclose(self) -> None:
        """Wait for those on their way: a refresh token that was rotated must not be lost."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    def _flight(self, session: Session, target: TokenTarget, held: UpstreamToken | None) -> Flight:
        key = (session.key, target.name)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fetch(session, target, held), name="upstream token")
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: tuple[str, str], flight: Flight) -> None:
        self._flights.pop(key, None)
        if flight.cancelled():
            return
        error = flight.exception()
        if isinstance(error, RefusedError):
            now = self._clock()
            self._refused_until = {
                other: until for other, until in self._refused_until.items() if until > now
            }
            self._refused_until[key] = now + SESSION_PAUSE

    async def _fetch(
        self, seen: Session, target: TokenTarget, held: UpstreamToken | None
    ) -> Session | None:
        def done(current: Session) -> bool:
            found = current.upstream_tokens.get(target.name)
            return found is not None and found != held and not found.due(self._clock())

        async def act(current: Session) -> Session | None:
            if self._refresher.resting:
                raise ProviderUnavailableError("provider_failing")
            if target.exchange:
                return await self._exchange(current, target)
            if current.tokens.refresh_token is None:
                raise RefusedError("no_refresh_token")
            return await self._refresher.redeem(
                current, lambda session, grant: self._kept(session, grant, target), target.resource
            )

        asked = {"resource": target.resource, "audience": target.audience}
        # Those who want other tokens of the same session queue here, so that each finds the lease
        # free the moment the one before is done.
        turn = self._turns.setdefault(seen.key, asyncio.Lock())
        try:
            async with turn:
                session = await self._refresher.exclusively(seen, done, act)
        except RefusedError as error:
            log.warning(
                "upstream_token.refused", session=seen.display_id, reason=error.reason, **asked
            )
            raise
        log.debug("upstream_token.obtained", session=seen.display_id, **asked)
        return session

    async def _exchange(self, session: Session, target: TokenTarget) -> Session | None:
        try:
            grant = await token_endpoint.exchange_token(
                self._provider, session.tokens.access_token, target, session.proof_key
            )
        except ProviderUnavailableError as error:
            self._refresher.failed(error.reason)
            raise
        fresh = self._kept(session, grant, target)
        if await self._refresher.save(fresh):
            return fresh
        return await self._store.reload(session.key)

    def _kept(self, session: Session, grant: Grant, target: TokenTarget) -> Session:
        now = self._clock()
        scope, asked = grant.scope, target.scope
        if scope is None:
            scope = session.tokens.scope if asked is None else frozenset(asked.split())
        token = UpstreamToken(
            access_token=grant.access_token,
            obtained_at=now,
            expires_at=None if grant.expires_in is None else now + grant.expires_in,
            scope=scope,
            exchanged=target.exchange,
        )
        refresh_token = session.tokens.refresh_token
        if not target.exchange:
            refresh_token = grant.refresh_token or refresh_token
        return session.with_upstream_token(target.name, token, refresh_token)
