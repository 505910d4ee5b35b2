"""May this request use this route, and with which token? The same for HTTP and WebSocket.

In this order, and the first refusal stands:

1. A request that carries our cookie was made by our own page (CSRF).
2. The route's kind of sign-in: a session for `user`, one if there is for `optional`.
3. The session has a usable access token; without one it cannot use routes.
4. The session has the scopes, claims and `acr` that the route asks for, and its user signed in at
   the provider recently enough.
5. Where the route wants a token of its own, that is to be had, and has the scopes.

Whoever needs a stronger or more recent sign-in is told where: at our login, with what is missing in
its query. The login sees to it that the session that comes of it really has that.

Source: contract, sections 5 and 6; RFC 9470.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

import structlog

from bff import csrf
from bff.errors import Code, Problem
from bff.oidc.dpop import ProofKey
from bff.proxy.challenge import TOO_WEAK, StepUp, bearer_challenge, step_up
from bff.proxy.headers import Headers
from bff.proxy.route import Route, Verdict, permits
from bff.sessions.access import Access
from bff.sessions.session import FIRST_PROVIDER, Session

LOGIN_URL = "/bff/login"
UNAUTHORIZED = 401

log = structlog.get_logger("bff.proxy")


class Grant(NamedTuple):
    """What a request may use: `session` None where nobody is signed in, or it does not matter.

    `proof_key` is the key that the token is bound to; None for a bearer token.
    """

    session: Session | None
    authorization: bytes | None
    proof_key: ProofKey | None = None


class Admission:
    """Judges requests against routes."""

    def __init__(self, access: Access, *, own_origin: str, allowed_origins: frozenset[str]) -> None:
        self._access = access
        self._own_origin = own_origin
        self._allowed_origins = allowed_origins

    async def admit(
        self, route: Route, method: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> Grant:
        """Return what the request may use. Raises Problem where it may not be made."""
        grant = self.at_once(route, method, headers)
        if grant is not None:
            return grant
        if route.auth == "client":
            return _grant(None, await self._access.client_token(), self._access.client_proof_key)
        session = await self._access.session(headers)
        if session is not None:
            session = await self._access.fresh(session)
        if session is None:
            if route.auth == "user" or route.restricted:
                raise Problem(Code.UNAUTHENTICATED, "no_session", login_url=LOGIN_URL)
            return Grant(None, None)
        return await self._granted(route, session)

    def at_once(
        self, route: Route, method: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> Grant | None:
        """Return what the request may use, if that is no work; None says nothing.

        Raises Problem.
        """
        cookies = self._access.cookie.values(headers)
        if cookies and not csrf.check(
            method, headers, own_origin=self._own_origin, allowed=self._allowed_origins
        ):
            raise Problem(Code.CSRF, "not_our_page")
        if route.auth == "none":
            return Grant(None, None)
        if route.auth == "client" or route.token is not None:
            return None
        session = self._access.at_hand(cookies)
        return None if session is None else self._granted_own(route, session)

    def known(self, route: Route, cookies: bytes) -> Grant | None:
        """Return what a request with this `Cookie` field may use that is known but for it.

        That is: one on a route that asks for a session, made by our own page. Like `at_once`.
        """
        session = self._access.at_hand_by(cookies)
        return None if session is None else self._granted_own(route, session)

    async def renew(self, route: Route, session: Session) -> Grant:
        """Return the grant with a token that is got now. Raises Problem."""
        if route.token is not None:
            return await self._granted(route, session, force=True)
        renewed = await self._access.fresh(session, force=True)
        if renewed is None:
            raise Problem(Code.UNAUTHENTICATED, "token_refused", login_url=LOGIN_URL)
        return await self._granted(route, renewed)

    def step_up(
        self, route: Route, session: Session | None, status: int, headers: Headers
    ) -> Problem | None:
        """Return what to tell where an upstream wants another sign-in (RFC 9470 section 3)."""
        if status != UNAUTHORIZED or session is None:
            return None
        challenge = bearer_challenge(headers)
        if challenge.get("error") != TOO_WEAK:
            return None
        asked = step_up(challenge)
        # Where the session has it all, the upstream judges otherwise than we do, and whoever
        # follows the link will be back: an operator must see that.
        log.info("upstream.step_up", route=route.name, in_vain=self._has(session, asked))
        return _step_up(session, asked, "upstream_asks")

    async def _granted(self, route: Route, session: Session, *, force: bool = False) -> Grant:
        if route.token is None:
            return self._granted_own(route, session)
        self._judge(route, session, route.scopes)
        found = await self._access.fresh_for(session, route.token, force=force)
        if found is None:
            raise Problem(Code.UNAUTHENTICATED, "session_ended", login_url=LOGIN_URL)
        token = found.upstream_tokens[route.token.name]
        self._judge(route, found, token.scope)
        return _grant(found, token.access_token, found.proof_key)

    def _granted_own(self, route: Route, session: Session) -> Grant:
        """Return the grant with the session's own access token. Raises Problem."""
        self._judge(route, session, session.tokens.scope)
        if session.proof_key is not None:
            return _grant(session, session.tokens.access_token, session.proof_key)
        return Grant(session, b"Bearer " + session.tokens.access_token.encode("ascii"))

    def _judge(self, route: Route, session: Session, granted: frozenset[str]) -> None:
        if not route.restricted:
            return
        claims = session.claims
        verdict = permits(route, granted, claims, claims.get("acr"), self._age(session))
        if verdict is Verdict.FORBIDDEN:
            raise Problem(Code.FORBIDDEN, "route_policy")
        if verdict is Verdict.STEP_UP:
            raise _step_up(session, StepUp(route.acr, route.max_age), "route_policy")

    def _age(self, session: Session) -> float | None:
        """Return the seconds since the user signed in at the provider, where that is known."""
        auth_time = session.claims.get("auth_time")
        if isinstance(auth_time, bool) or not isinstance(auth_time, int | float):
            return None
        return self._access.store.clock() - auth_time

    def _has(self, session: Session, asked: StepUp) -> bool:
        age = self._age(session)
        return (
            asked.acr_values is None or session.claims.get("acr") in asked.acr_values.split(" ")
        ) and (asked.max_age is None or (age is not None and age <= asked.max_age))


def _grant(session: Session | None, access_token: str, proof_key: ProofKey | None) -> Grant:
    scheme = b"Bearer " if proof_key is None else b"DPoP "
    return Grant(session, scheme + access_token.encode("ascii"), proof_key)


def _step_up(session: Session, asked: StepUp, reason: str) -> Problem:
    query = {
        "acr_values": asked.acr_values,
        "max_age": asked.max_age,
        "prompt": "login" if asked == StepUp() else None,
        "provider": None if session.provider == FIRST_PROVIDER else session.provider,
    }
    known = {name: value for name, value in query.items() if value is not None}
    options = urlencode(known, quote_via=quote, safe="")
    return Problem(Code.STEP_UP_REQUIRED, reason, login_url=f"{LOGIN_URL}?{options}")
