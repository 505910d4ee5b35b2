"""Signed out by the provider: back-channel logout, and front-channel logout where switched on.

OIDC Back-Channel Logout 1.0, 2.5 to 2.8: the token is judged step by step; then every session it
speaks of ends, on every worker, before the answer is given. 400 for a token that is not believed,
503 where it cannot be judged or acted on now, so that the provider may try again.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc.keys import BadTokenError
from bff.oidc.metadata import Metadata
from bff.oidc.tokens import LogoutToken, check_logout_token
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from bff.web.pages import NO_STORE, page
from bff.web.service import Service, form_pairs, once, query_pairs

log = structlog.get_logger("bff.logout")


def router(service: Service) -> APIRouter:
    """Return the routes that the provider calls."""
    routes = APIRouter()

    @routes.post("/bff/backchannel-logout")
    async def backchannel_logout(request: Request) -> Response:
        raw = once(await form_pairs(request), "logout_token").get("logout_token")
        if not raw:
            raise _refused("no_logout_token")
        try:
            token = check_logout_token(
                await service.provider.verified(raw),
                service.provider.registration.policy,
                service.clock(),
            )
        except BadTokenError as error:
            raise _refused(error.reason) from None
        await act_on(service, token)
        return Response(None, 200, NO_STORE)

    if service.settings.frontchannel_logout:

        @routes.get("/bff/frontchannel-logout")
        async def frontchannel_logout(request: Request) -> Response:
            query = once(query_pairs(request), "iss", "sid")
            if query.get("iss") == service.provider.issuer and query.get("sid"):
                ended = await service.store.end_sid(
                    service.provider.issuer, query["sid"], EndReason.FRONTCHANNEL
                )
                _log_ended(ended, EndReason.FRONTCHANNEL)
            else:
                log.warning("logout.frontchannel_ignored")
            metadata = await service.provider.metadata()
            return page("signed_out.html", ancestors=framers(metadata))

    return routes


async def act_on(service: Service, token: LogoutToken) -> None:
    """End what a logout token speaks of: by `sid` one provider session, else the user's all."""
    issuer = service.provider.issuer
    if await service.logins.seen(issuer, token.jti):
        log.info("logout.backchannel_replayed")
        return
    if token.sid is not None:
        ended = await service.store.end_sid(issuer, token.sid, EndReason.BACKCHANNEL)
    else:
        assert token.sub is not None
        ended = await service.store.end_sub(
            issuer, token.sub, token.issued_at, EndReason.BACKCHANNEL
        )
    _log_ended(ended, EndReason.BACKCHANNEL)
    left = token.expires_at + service.settings.clock_skew - service.clock()
    await service.logins.note_seen(issuer, token.jti, max(left, 1))


def framers(metadata: Metadata) -> str:
    """Return the origins that may frame our front-channel page: the issuer's and its endpoints'."""
    urls = (metadata.issuer, metadata.authorization_endpoint, metadata.end_session_endpoint)
    origins = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls if url}
    return " ".join(sorted(origins))


def _log_ended(ended: list[Session], reason: EndReason) -> None:
    log.info("logout.by_provider", reason=reason, count=len(ended))
    for session in ended:
        log.info("session.ended", session=session.display_id, reason=reason)


def _refused(reason: str) -> Problem:
    log.warning("logout.backchannel_refused", reason=reason)
    return Problem(Code.BAD_REQUEST, reason, detail="The logout token is not valid.")
