"""Signed out by the provider: back-channel logout, and front-channel logout where switched on.

OIDC Back-Channel Logout 1.0, 2.5 to 2.8: the token is judged step by step; then every session it
speaks of ends, on every worker, before the answer is given. 400 for a token that is not believed,
503 where it cannot be judged or acted on now, so that the provider may try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc.decryption import is_encrypted
from bff.oidc.keys import BadTokenError, claimed_issuer
from bff.oidc.metadata import Metadata
from bff.oidc.provider import Provider
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
        token = await judge(service, raw)
        await act_on(service, token)
        return Response(None, 200, NO_STORE)

    if service.settings.frontchannel_logout:

        @routes.get("/bff/frontchannel-logout")
        async def frontchannel_logout(request: Request) -> Response:
            query = once(query_pairs(request), "iss", "sid")
            calling = service.parties.issuing(query.get("iss"))
            issuer = calling[0].named_by(query.get("iss")) if calling else None
            if issuer is not None and query.get("sid"):
                ended = await service.store.end_sid(issuer, query["sid"], EndReason.FRONTCHANNEL)
                _log_ended(ended, EndReason.FRONTCHANNEL)
            else:
                log.warning("logout.frontchannel_ignored")
            known = calling or [party.provider for party in service.parties]
            return page(
                "signed_out.html", ancestors=framers([await one.metadata() for one in known])
            )

    return routes


async def judge(service: Service, raw: str) -> LogoutToken:
    """Return a logout token that one of our providers signed for us. Raises Problem.

    Who calls says who it is in the token itself; where we have several registrations with one
    issuer, and where the token is encrypted, each is tried. What the first says stands else.
    """
    first: BadTokenError | None = None
    for provider in candidates(service, raw):
        policy = provider.registration.policy
        try:
            verified = await provider.verified(raw, brought=True)
            return check_logout_token(verified, policy, service.clock())
        except BadTokenError as error:
            first = first or error
    raise _refused("unknown_issuer" if first is None else first.reason)


def candidates(service: Service, raw: str) -> list[Provider]:
    """Return the providers that a logout token may be of, by what it says of itself."""
    everyone = [party.provider for party in service.parties]
    if len(everyone) == 1 or is_encrypted(raw):
        return everyone
    try:
        return service.parties.issuing(claimed_issuer(raw))
    except BadTokenError as error:
        raise _refused(error.reason) from None


async def act_on(service: Service, token: LogoutToken) -> None:
    """End what a logout token speaks of: by `sid` one provider session, else the user's all."""
    issuer = token.iss
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


def framers(known: Sequence[Metadata]) -> str:
    """Return the origins that may frame our front-channel page: issuers' and their endpoints'."""
    urls = [
        url
        for one in known
        for url in (one.issuer, one.authorization_endpoint, one.end_session_endpoint)
    ]
    origins = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls if url}
    return " ".join(sorted(origins))


def _log_ended(ended: list[Session], reason: EndReason) -> None:
    log.info("logout.by_provider", reason=reason, count=len(ended))
    for session in ended:
        log.info("session.ended", session=session.display_id, reason=reason)


def _refused(reason: str) -> Problem:
    log.warning("logout.backchannel_refused", reason=reason)
    return Problem(Code.BAD_REQUEST, reason, detail="The logout token is not valid.")
