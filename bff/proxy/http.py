"""Carries an HTTP request to its upstream, and the answer back.

Rules: what was judged is what is sent; nothing is held in memory but a little; a short answer costs
no task and no timer; an answer that the upstream cuts short, or whose session ends, is cut short to
the browser too, never ended as if whole; a 401 for an expired token is met once by a refresh and a
second try, where the body can be sent again; and so is one for a proof without the nonce that the
upstream wants.

Flow: admission (CSRF, session, token, policy), header rules, upstream, header rules, browser.

Source: contract, section 5; RFC 9110 sections 7.6 (proxies) and 15.5.2 (401).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import structlog
from starlette.types import Receive, Scope, Send

from bff.errors import Code, Problem, ProviderUnavailableError
from bff.exchange import WHOLE
from bff.proxy.admission import LOGIN_URL, Admission, Grant
from bff.proxy.browser import Browser
from bff.proxy.caller import Callers
from bff.proxy.challenge import EXPIRED, bearer_error
from bff.proxy.departure import Departure
from bff.proxy.forms import (
    AUTHORIZATION,
    CLIENT,
    OUR_ID,
    Forms,
    blanked,
    key_of,
    known_by,
    pieces_of,
)
from bff.proxy.headers import Headers, OwnCookies, response_headers
from bff.proxy.proof import UpstreamProof
from bff.proxy.response import UpstreamResponse
from bff.proxy.route import Route, target
from bff.proxy.upstreams import Upstreams, no_answer
from bff.proxy.wire import (
    ClientGoneError,
    Form,
    RequestBodyError,
    RequestHead,
    UpstreamError,
)
from bff.server import ENDLESS
from bff.sessions.access import Access
from bff.sessions.live import LiveSessions

log = structlog.get_logger("bff.proxy")
_UNAUTHORIZED = 401


class HttpProxy:
    """Serves requests on routes."""

    def __init__(
        self,
        access: Access,
        live: LiveSessions,
        upstreams: Upstreams,
        *,
        own_origin: str,
        allowed_origins: frozenset[str],
        own_cookies: Iterable[str],
    ) -> None:
        self.admission = Admission(access, own_origin=own_origin, allowed_origins=allowed_origins)
        self._live = live
        self._own_cookies = OwnCookies(own_cookies)
        self._callers = Callers(own_origin, self._own_cookies)
        self.upstreams = upstreams
        self.forms = Forms()

    async def __call__(
        self, route: Route, judged: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one request on a route. Raises Problem before the answer begins.

        `judged` is the path as it was matched; what goes out is the scope's `raw_path`.
        """
        del judged
        grant = await self.admission.admit(route, scope["method"], scope["headers"])
        self._note(route, grant, scope)
        await self.carry(route, grant, scope, send, self.departure(grant, scope, receive))

    def _note(self, route: Route, grant: Grant, scope: Scope) -> None:
        """Remember a request that may pass, so that the next like it is known."""
        if grant.session is None or route.token is not None:
            return
        pieces = pieces_of(route, scope)
        if pieces is None:
            return
        key = key_of(route, pieces)
        if key in self.forms or self.forms.marks.is_new(key):
            return
        state = {**scope["state"], "request_id": OUR_ID.decode(), "client": CLIENT.decode()}
        blank = {**scope, "state": state, "headers": blanked(scope["headers"])}
        form = Form(self.head(route, AUTHORIZATION, blank))
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        self.forms.remember(key, known_by(form, origins[-1] if origins else None, pieces))

    def departure(self, grant: Grant, scope: Scope, receive: Receive) -> Departure:
        """Return what tells that nobody wants an answer any more."""
        return Departure(scope, receive, self._live, grant.session)

    async def carry(
        self,
        route: Route,
        grant: Grant,
        scope: Scope,
        send: Send,
        departure: Departure,
        first: Awaitable[UpstreamResponse] | None = None,
    ) -> None:
        """Serve a request that is admitted; `first` gives the answer of one that has been sent.

        Raises Problem before the answer begins.
        """
        try:
            response = await self._fetch(route, grant, scope, departure, first)
        except ClientGoneError:
            if departure.session_ended:
                raise Problem(Code.UNAUTHENTICATED, "session_ended", login_url=LOGIN_URL) from None
            return
        except RequestBodyError as error:
            log.info("request.body_failed", route=route.name, detail=str(error))
            raise Problem(Code.BAD_REQUEST, "body_failed") from None
        except UpstreamError as error:
            raise no_answer(route, error) from None
        try:
            with_session = grant.session is not None
            await self._answer(route, response, scope, send, with_session=with_session)
        except ClientGoneError:
            log.info("request.ended", route=route.name, session_ended=departure.session_ended)
        except (UpstreamError, RequestBodyError) as error:
            # Returning without the last piece makes the server cut the answer short.
            kind = type(error).__name__
            log.warning("upstream.broke_off", route=route.name, kind=kind, detail=str(error))
        finally:
            await response.aclose()

    async def _fetch(
        self,
        route: Route,
        grant: Grant,
        scope: Scope,
        departure: Departure,
        first: Awaitable[UpstreamResponse] | None,
    ) -> UpstreamResponse:
        browser = departure.browser
        body = await browser.begin() if browser.has_body else None
        response = await (first or self._send(route, grant, scope, body, departure))
        if response.status != _UNAUTHORIZED or grant.session is None:
            return response
        await self._check_sign_in(route, grant, response)
        if bearer_error(response.headers) != EXPIRED:
            return response
        if body is not None and (body := browser.repeatable) is None:
            return response
        try:
            renewed = await self.admission.renew(route, grant.session)
        except ProviderUnavailableError:
            return response
        except BaseException:
            await response.aclose()
            raise
        if renewed.authorization == grant.authorization:
            return response
        await response.aclose()
        response = await self._send(route, renewed, scope, body, departure)
        await self._check_sign_in(route, grant, response)
        return response

    async def _check_sign_in(self, route: Route, grant: Grant, response: UpstreamResponse) -> None:
        """Raise Problem where the upstream wants another sign-in of the user (RFC 9470)."""
        problem = self.admission.step_up(route, grant.session, response.status, response.headers)
        if problem is not None:
            await response.aclose()
            raise problem

    def _send(
        self,
        route: Route,
        grant: Grant,
        scope: Scope,
        body: Browser | bytes | None,
        departure: Departure,
        proof: UpstreamProof | None = None,
    ) -> Awaitable[UpstreamResponse]:
        if grant.proof_key is not None and proof is None:
            return self._send_proven(route, grant, scope, body, departure)
        return self.upstreams.of(route).send(
            self.head(route, grant.authorization, scope),
            body,
            timeout=route.timeout,
            length=body.length if isinstance(body, Browser) else None,
            gone=departure.wait,
            proof=proof,
        )

    def head(self, route: Route, authorization: bytes | None, scope: Scope) -> RequestHead:
        """Return the head for the upstream. Raises Problem for our own request."""
        fields = self._callers.fields(route, scope, authorization)
        path = target(route, scope["raw_path"], scope["query_string"])
        return RequestHead(scope["method"].encode("ascii"), path, fields)

    async def _send_proven(
        self,
        route: Route,
        grant: Grant,
        scope: Scope,
        body: Browser | bytes | None,
        departure: Departure,
    ) -> UpstreamResponse:
        """Send a request whose token is bound; once more where a nonce is demanded (RFC 9449 9)."""
        assert grant.proof_key is not None
        assert grant.authorization is not None
        path = target(route, scope["raw_path"], scope["query_string"])
        nonces = self.upstreams.nonces
        proof = UpstreamProof(grant.proof_key, nonces, scope["method"], path, grant.authorization)
        while True:
            response = await self._send(route, grant, scope, body, departure, proof)
            kept = body.repeatable if isinstance(body, Browser) else body
            repeatable = kept is not None or body is None
            if not proof.heard(response.status, response.headers, repeatable=repeatable):
                return response
            await response.aclose()
            body = kept

    def fields(self, route: Route, response: UpstreamResponse, *, with_session: bool) -> Headers:
        """Return the fields of the answer to the browser."""
        return response_headers(
            response.headers,
            response.status,
            with_session=with_session,
            cookies=route.cookies,
            own_cookies=self._own_cookies,
            let=route.pass_response_headers,
        )

    async def _answer(
        self,
        route: Route,
        response: UpstreamResponse,
        scope: Scope,
        send: Send,
        *,
        with_session: bool,
    ) -> None:
        fields = self.fields(route, response, with_session=with_session)
        start = {"type": "http.response.start", "status": response.status, "headers": fields}
        if response.complete:
            scope["state"][WHOLE] = True
            await send(start)
            await send({"type": "http.response.body", "body": response.rest()})
            return
        if _streams_events(fields):
            scope["state"][ENDLESS] = True
        await send(start)
        while True:
            # The end is not asked for where it came with the piece.
            piece = await response.read()
            more = not response.complete
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not more:
                return


def _streams_events(fields: Headers) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in fields
    )
