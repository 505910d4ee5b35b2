"""May this request use this route, and with which token? The same for HTTP and WebSocket.

In this order, and the first refusal stands:

1. A request that carries our cookie was made by our own page (CSRF).
2. The route's kind of sign-in: a session for `user`, one if there is for `optional`.
3. The session has a usable access token; without one it cannot use routes.
4. The session has the scopes, claims and `acr` that the route asks for.

Source: contract, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from bff import csrf
from bff.errors import Code, Problem
from bff.proxy.route import Route, Verdict, permits
from bff.sessions.access import Access
from bff.sessions.session import Session

LOGIN_URL = "/bff/login"


class Grant(NamedTuple):
    """What a request may use: `session` None where nobody is signed in, or it does not matter."""

    session: Session | None
    authorization: bytes | None


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
        if self._access.cookie.present(headers) and not csrf.check(
            method, headers, own_origin=self._own_origin, allowed=self._allowed_origins
        ):
            raise Problem(Code.CSRF, "not_our_page")
        if route.auth == "none":
            return Grant(None, None)
        if route.auth == "client":
            return Grant(None, b"Bearer " + (await self._access.client_token()).encode("ascii"))
        session = await self._access.session(headers)
        if session is not None:
            session = await self._access.fresh(session)
        if session is None:
            if route.auth == "user" or route.restricted:
                raise Problem(Code.UNAUTHENTICATED, "no_session", login_url=LOGIN_URL)
            return Grant(None, None)
        return self._granted(route, session)

    async def renew(self, route: Route, session: Session) -> Grant:
        """Return the grant with tokens that are refreshed now. Raises Problem."""
        renewed = await self._access.fresh(session, force=True)
        if renewed is None:
            raise Problem(Code.UNAUTHENTICATED, "token_refused", login_url=LOGIN_URL)
        return self._granted(route, renewed)

    def _granted(self, route: Route, session: Session) -> Grant:
        tokens = session.tokens
        if route.restricted:
            acr = session.claims.get("acr")
            verdict = permits(route, tokens.scope, session.claims, acr)
            if verdict is Verdict.FORBIDDEN:
                raise Problem(Code.FORBIDDEN, "route_policy")
            if verdict is Verdict.STEP_UP:
                wanted = quote(route.acr or "", safe="")
                raise Problem(
                    Code.STEP_UP_REQUIRED, "acr", login_url=f"{LOGIN_URL}?acr_values={wanted}"
                )
        return Grant(session, b"Bearer " + tokens.access_token.encode("ascii"))
