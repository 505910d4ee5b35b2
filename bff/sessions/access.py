"""Who is calling, with a token that can be used: what the proxy and the pages ask of sessions."""

from __future__ import annotations

from collections.abc import Sequence

from bff.oidc.dpop import ProofKey
from bff.oidc.token_target import TokenTarget
from bff.sessions import names
from bff.sessions.client_token import ClientToken
from bff.sessions.cookies import REMEMBERED, Cookie
from bff.sessions.parties import Parties
from bff.sessions.session import Session
from bff.sessions.store import SessionStore
from bff.sessions.touches import Touches

LONGEST_LINE = 1024  # bytes of a `Cookie` field that is remembered: who is signed in chooses them


class Access:
    """Finds the session of a request and keeps it usable."""

    def __init__(
        self,
        cookie: Cookie,
        store: SessionStore,
        parties: Parties,
        client_token: ClientToken,
    ) -> None:
        self.cookie = cookie
        self.store = store
        self._parties = parties
        self._client_token = client_token
        self._touches = Touches(store)
        self._keys: dict[bytes, str] = {}  # by `Cookie` fields that hold a cookie of ours

    def at_hand(self, cookies: Sequence[bytes]) -> Session | None:
        """Return the live session of a request, with a usable access token, if that is no work.

        `cookies` are the values of our cookie in it. None says nothing: then `session` and `fresh`
        are to be asked. Using it puts off its idle end.
        """
        identifier = self.cookie.believed(cookies)
        return None if identifier is None else self._at_hand(names.session_key(identifier))

    def at_hand_by(self, line: bytes) -> Session | None:
        """Return what `at_hand` does for the cookies of a request with this one `Cookie` field."""
        key = self._keys.get(line)
        if key is None:
            identifier = self.cookie.believed(self.cookie.values_in(line))
            if identifier is None:
                return None
            key = names.session_key(identifier)
            if len(line) <= LONGEST_LINE:
                if len(self._keys) >= REMEMBERED:
                    self._keys.clear()
                self._keys[line] = key
        return self._at_hand(key)

    def _at_hand(self, key: str) -> Session | None:
        store = self.store
        if store.cache is None:
            return None
        session = store.cache.get(key)
        if session is None or self._parties.named(session.provider) is None:
            return None
        now = store.clock()
        if session.tokens.due(now) or not session.alive(now, store.lifetimes.idle):
            return None
        if session.touch_due(now, store.lifetimes.idle):
            return self._touches.note(session)
        return session

    async def session(
        self, headers: Sequence[tuple[bytes, bytes]], *, slide: bool = True
    ) -> Session | None:
        """Return the live session of a request; using it puts off its idle end, if `slide`.

        Raises StoreUnavailableError, but only to a browser that carries a cookie we signed.
        """
        identifier = self.cookie.read(headers)
        if identifier is None:
            return None
        session = await self.store.load(names.session_key(identifier))
        if session is None or not slide:
            return session
        if session.touch_due(self.store.clock(), self.store.lifetimes.idle):
            return self._touches.note(session)
        return session

    async def fresh(self, session: Session, *, force: bool = False) -> Session | None:
        """Return the session with a usable access token; None where it has none any more."""
        return await self._parties.of(session).refresher.fresh(session, force=force)

    async def fresh_for(
        self, session: Session, target: TokenTarget, *, force: bool = False
    ) -> Session | None:
        """Return the session with a token for one upstream alone; None where it has ended."""
        party = self._parties.of(session)
        return await party.upstream_tokens.fresh(session, target, force=force)

    async def client_token(self) -> str:
        """Return the service's own access token, for routes with `auth: client`."""
        return await self._client_token.get()

    @property
    def client_proof_key(self) -> ProofKey | None:
        """The key that `client_token` is bound to."""
        return self._client_token.proof_key

    async def aclose(self) -> None:
        """Write down the uses of sessions that are not written yet."""
        await self._touches.aclose()
