"""A fresh access token, once for all who ask.

Providers that rotate refresh tokens revoke the whole family when one is used twice, so a refresh
must happen once over all requests, workers and machines:

1. in one process all who ask share one flight, which finishes though the browser has gone;
2. over all processes a lease in Redis is held, and renewed, while the provider is asked; those who
   wait for it are woken by message;
3. who gets the lease reads the record again before asking: perhaps it is done;
4. the new tokens are saved by compare-and-set, so that an ended session stays ended.

Only `invalid_grant`, or an ID token about somebody else, ends the session. Any other failure leaves
it, and the old access token is used while it lives; nobody who has one waits longer than a moment
for its successor. A provider that fails is then left alone for a growing while; what it refuses for
one session only says nothing of the others, so that session alone is left alone.

A worker that dies while it asks leaves its lease for `lease.SECONDS` at most, less than the others
are ready to wait. A rotating provider may have spent the old refresh token by then, and nobody has
the new one: it will say `invalid_grant`, and the session ends. No order of steps can prevent that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.grants import Grant, InvalidGrantError, RefusedError
from bff.oidc.keys import BadTokenError, unverified_claims
from bff.oidc.provider import Provider
from bff.oidc.tokens import check_refreshed_id_token
from bff.sessions.lease import Lease
from bff.sessions.live import LiveSessions
from bff.sessions.redis import Redis
from bff.sessions.session import Session, Tokens
from bff.sessions.store import EndReason, SessionStore

WAIT_SECONDS = 12.0  # for a lease; longer than one that nobody renews
STALE_AFTER = 1.0  # seconds that a request with a living token waits for the next one
POLL_SECONDS = 0.25
SAVE_SECONDS = 30.0  # longer than Redis needs to fail over with ordinary settings
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
SESSION_PAUSE = 10.0
OF_THE_CLIENT = frozenset({"invalid_client", "unauthorized_client"})

Done = Callable[[Session], bool]
Act = Callable[[Session], Awaitable[Session | None]]
Renewed = Callable[[Session, Grant], Session]

log = structlog.get_logger("bff.refresh")


class Refresher:
    """Refreshes sessions of one provider."""

    def __init__(
        self,
        provider: Provider,
        store: SessionStore,
        redis: Redis,
        live: LiveSessions,
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._store = store
        self._redis = redis
        self._live = live
        self._clock = clock
        self._flights: dict[str, asyncio.Task[Session | None]] = {}
        self._pause = 0.0
        self._closed_until = 0.0
        self._refused_until: dict[str, float] = {}

    async def fresh(self, session: Session, *, force: bool = False) -> Session | None:
        """Return the session with an access token that can be used.

        None means that it has none: the session ended, or its access token is past its time and
        there is no refresh token. With `force` the tokens are refreshed now, whatever their time;
        then, and where the old token has expired, a provider that fails raises
        ProviderUnavailableError.
        """
        now = self._clock()
        tokens = session.tokens
        if not force and not tokens.due(now):
            return session
        if tokens.refresh_token is None:
            return None if tokens.expired(now) else session
        if now < max(self._closed_until, self._refused_until.get(session.key, 0)) and not force:
            return self._stale(session, "provider_failing")
        flight = self._flights.get(session.key)
        if flight is None:
            flight = asyncio.create_task(self._refresh(session), name="refresh")
            self._flights[session.key] = flight
            flight.add_done_callback(lambda done: self._landed(session.key, done))
        if not force and not tokens.expired(now + STALE_AFTER):
            await asyncio.wait([flight], timeout=STALE_AFTER)
            if not flight.done():
                return session
        try:
            return await asyncio.shield(flight)
        except (ProviderUnavailableError, RefusedError) as error:
            if force:
                raise ProviderUnavailableError(error.reason) from None
            return self._stale(session, error.reason)

    @property
    def resting(self) -> bool:
        """Whether the provider failed just now, and is left alone."""
        return self._clock() < self._closed_until

    async def aclose(self) -> None:
        """Wait for the refreshes in flight: their tokens must not be lost."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    def _landed(self, key: str, flight: asyncio.Task[Session | None]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()

    def _stale(self, session: Session, reason: str) -> Session:
        if session.tokens.expired(self._clock()):
            raise ProviderUnavailableError(reason)
        return session

    async def _refresh(self, seen: Session) -> Session | None:
        old = seen.tokens

        def done(current: Session) -> bool:
            new = current.tokens
            return (new.access_token, new.obtained_at) != (old.access_token, old.obtained_at)

        return await self.exclusively(seen, done, self._ask)

    async def exclusively(self, seen: Session, done: Done, act: Act) -> Session | None:
        """Act on a session while nobody else renews any of its tokens; return what became of it.

        `act` gets the record as Redis has it once the lease is held, unless it is `done` by then.
        Raises ProviderUnavailableError where the lease is not to be had, and what `act` does.
        """
        lease = Lease(self._redis, seen.key)
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        with self._live.watch_change(seen.key) as changed:
            while not await lease.take():
                if asyncio.get_running_loop().time() > deadline:
                    raise ProviderUnavailableError("refresh_lease_timeout")
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), POLL_SECONDS)
                changed.clear()
                current = await self._store.reload(seen.key)
                if current is None or done(current):
                    return current
        async with lease.held():
            current = await self._store.reload(seen.key)
            if current is None or done(current):
                return current
            return await act(current)

    async def _ask(self, session: Session) -> Session | None:
        try:
            return await self.redeem(session, self._renewed)
        except RefusedError as error:
            if error.reason not in OF_THE_CLIENT:
                self._refused(session, error.reason)
            raise

    async def redeem(
        self, session: Session, renewed: Renewed, resource: str | None = None
    ) -> Session | None:
        """Redeem the refresh token, and save what `renewed` makes of the session and the grant.

        For `resource`, where one is named. Only to be called by who holds the lease. None means
        that the session has ended. Raises RefusedError, ProviderUnavailableError.
        """
        assert session.tokens.refresh_token is not None
        try:
            grant = await token_endpoint.refresh(
                self._provider, session.tokens.refresh_token, resource, session.proof_key
            )
            grant = await self._judged(session, grant)
        except InvalidGrantError:
            return await self._lost(session, EndReason.REVOKED)
        except BadTokenError as error:
            if error.reason == "sub_changed":
                return await self._lost(session, EndReason.WRONG_USER)
            raise RefusedError(f"id_token_{error.reason}") from None
        except RefusedError as error:
            if error.reason in OF_THE_CLIENT:
                self.failed(error.reason)
            raise
        except ProviderUnavailableError as error:
            self.failed(error.reason)
            raise
        self._pause = self._closed_until = 0.0
        fresh = renewed(session, grant)
        if await self.save(fresh):
            log.info("session.refreshed", session=session.display_id)
            return fresh
        log.info("session.refresh_too_late", session=session.display_id)
        refresh_token = fresh.tokens.refresh_token
        if refresh_token is not None and await self._store.reload(session.key) is None:
            await self._revoke(refresh_token)
        return await self._store.reload(session.key)

    async def save(self, fresh: Session) -> bool:
        """Save, and try again while Redis is away: the old refresh token may be spent already."""
        deadline = asyncio.get_running_loop().time() + SAVE_SECONDS
        while True:
            try:
                return await self._store.save(fresh)
            except StoreUnavailableError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def _judged(self, session: Session, grant: Grant) -> Grant:
        """Return the grant with its ID token checked, and out of its encryption."""
        if grant.id_token is None:
            return grant
        id_token = check_refreshed_id_token(
            await self._provider.verified(grant.id_token),
            self._provider.registration.policy,
            self._clock(),
            sub=session.sub,
            login_claims=unverified_claims(session.tokens.id_token),
            access_token=grant.access_token,
        )
        return replace(grant, id_token=id_token.raw)

    def _renewed(self, session: Session, grant: Grant) -> Session:
        old = session.tokens
        return session.with_tokens(
            Tokens.granted(
                access_token=grant.access_token,
                expires_in=grant.expires_in,
                refresh_token=grant.refresh_token or old.refresh_token,
                id_token=grant.id_token or old.id_token,
                scope=old.scope if grant.scope is None else grant.scope,
                now=self._clock(),
            )
        )

    async def _lost(self, session: Session, reason: EndReason) -> Session | None:
        current = await self._store.reload(session.key)
        if current is not None and current.generation != session.generation:
            return current
        await self._store.end(session.key, reason)
        log.warning("session.ended", session=session.display_id, reason=reason)
        return None

    async def _revoke(self, refresh_token: str) -> None:
        try:
            await token_endpoint.revoke(self._provider, refresh_token, "refresh_token")
        except (RefusedError, ProviderUnavailableError) as error:
            log.warning("token.revocation_failed", reason=error.reason)

    def failed(self, reason: str) -> None:
        """Note that the provider fails: it is left alone for a growing while."""
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._closed_until = self._clock() + self._pause
        log.warning("session.refresh_failed", reason=reason, pause=self._pause)

    def _refused(self, session: Session, reason: str) -> None:
        now = self._clock()
        self._refused_until = {
            key: until for key, until in self._refused_until.items() if until > now
        }
        self._refused_until[session.key] = now + SESSION_PAUSE
        log.warning("session.refresh_failed", session=session.display_id, reason=reason)
