"""Sign in, second half: `/bff/callback`, with its steps in their one right order.

Nothing is believed before it is verified: the answer is from our provider and for a login that this
browser began, before its code is redeemed; the ID token before the userinfo answer; all of it, and
that it is what the login asked for, before there is a session. A failure makes no session, and
leaves the one that is there.

Source: OIDC Core 3.1.2.5 to 3.1.3.7; RFC 9207.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc import front_channel, token_endpoint
from bff.oidc.authorization import (
    BadResponseError,
    check_issuer,
    granted_code,
    single_parameters,
)
from bff.oidc.dpop import ProofKey
from bff.oidc.grants import Grant, RefusedError
from bff.oidc.jarm import JWT_MODES
from bff.oidc.keys import BadTokenError
from bff.oidc.metadata import Metadata
from bff.oidc.plain_oauth2 import identify
from bff.oidc.provider import Provider
from bff.oidc.tokens import IdToken, check_id_token
from bff.sessions import names
from bff.sessions.device import Device, browser_in_words
from bff.sessions.logins import Login
from bff.sessions.session import Session, Tokens, absolute_end
from bff.sessions.store import EndReason, LoggedOutError
from bff.web.pages import hop
from bff.web.service import Service, callback_path, client_of, form_pairs, query_pairs
from bff.web.silent import done_silently, refused_silently

# The provider tells these of how the user signed in, and only in the ID token.
SIGN_IN_CLAIMS = frozenset({"acr", "amr", "auth_time"})
PROTOCOL_CLAIMS = frozenset(
    {
        "iss", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "c_hash", "s_hash", "jti",
        "sid", "typ", "session_state",
    }
)  # fmt: skip

log = structlog.get_logger("bff.login")


@dataclass(frozen=True, slots=True)
class Caller:
    """What of the browser's request decides: the answer's parameters, and its login cookie."""

    parameters: Mapping[str, str]
    browser: str


def router(service: Service) -> APIRouter:
    """Return the routes of the redirect URI."""
    routes = APIRouter()

    for party in service.parties:
        add_callback(routes, service, party.provider)
    return routes


def add_callback(routes: APIRouter, service: Service, provider: Provider) -> None:
    """Add the redirect URI of one provider: at it, nobody else's answer is taken."""
    path = callback_path(provider.registration.name)

    @routes.get(path)
    async def callback(request: Request) -> Response:
        return await complete(service, provider, request, query_pairs(request))

    @routes.post(path)
    async def callback_form_post(request: Request) -> Response:
        return await complete(service, provider, request, await form_pairs(request))


async def complete(
    service: Service, provider: Provider, request: Request, pairs: list[tuple[str, str]]
) -> Response:
    """Answer the browser that comes back: on to where the login leads, or to who waits for it."""
    silent = (b"sec-fetch-dest", b"iframe") in request.scope["headers"]
    try:
        metadata = await provider.metadata()
        caller = await find_answer(service, provider, request, pairs, metadata)
        login = await take_login(service, provider, caller)
        silent = silent or login.silent
        set_cookie = await establish(service, provider, request, metadata, caller, login)
    except Problem as problem:
        if not silent:
            raise
        return refused_silently(service, problem)
    answer = done_silently(service) if login.silent else hop(login.return_to)
    answer.raw_headers.append((b"set-cookie", set_cookie.encode("latin-1")))
    return answer


async def establish(
    service: Service,
    provider: Provider,
    request: Request,
    metadata: Metadata,
    caller: Caller,
    login: Login,
) -> str:
    """Judge the answer step by step; make a session only if every step holds.

    Returns the Set-Cookie of the session.
    """
    key = None if login.proof_key is None else ProofKey.parse(login.proof_key)
    try:
        granted = granted_code(caller.parameters)
        redirect_uri = service.redirect_uri(provider)
        grant = await token_endpoint.exchange(
            provider, granted.code, login.code_verifier, redirect_uri, key
        )
        plain = provider.registration.oauth2_without_id_token
        if plain is None:
            id_token = await judge_id_token(service, provider, grant, login, caller.parameters)
            claims = await gather_claims(provider, metadata, grant, id_token, key)
        else:
            id_token = await identify(provider, plain, grant.access_token, service.clock())
            claims = dict(id_token.claims)
    except BadResponseError as error:
        raise _failed(error.reason) from None
    except RefusedError as error:
        raise _failed(f"token_endpoint_{error.reason}") from None
    except BadTokenError as error:
        raise _failed(error.reason) from None
    session_id, set_cookie = service.session_cookie.issue(service.randomness(32))
    session = new_session(service, provider, request, session_id, grant, id_token, claims, key)
    if metadata.check_session_iframe is not None:
        session = replace(session, session_state=granted.session_state)
    try:
        await service.store.create(
            session, issued_at=id_token.issued_at, started_at=login.started_at
        )
    except LoggedOutError:
        await service.parties.revoke(session)
        raise _failed("logged_out_meanwhile") from None
    await end_replaced(service, request, login, caller.browser, session.key)
    await service.parties.revoke(*await service.directory.keep_to_limit(session))
    log.info("login.completed", session=session.display_id)
    return set_cookie


async def find_answer(
    service: Service,
    provider: Provider,
    request: Request,
    pairs: list[tuple[str, str]],
    metadata: Metadata,
) -> Caller:
    """Return what `read_answer` does, its refusal as a Problem."""
    try:
        return await read_answer(service, provider, request, pairs, metadata)
    except BadResponseError as error:
        raise _failed(error.reason) from None


async def read_answer(
    service: Service,
    provider: Provider,
    request: Request,
    pairs: list[tuple[str, str]],
    metadata: Metadata,
) -> Caller:
    """Read the answer: nothing twice, from our provider, in a browser that began a login."""
    parameters = single_parameters(pairs)
    browser = service.login_cookie.read(request.scope["headers"])
    if browser is None and provider.registration.response_mode in JWT_MODES:
        raise BadResponseError("no_login_cookie")  # strangers shall not have us verify signatures
    answer = await front_channel.incoming(provider, parameters, service.clock())
    check_issuer(answer, issuer=metadata.issuer, promises_iss=metadata.promises_iss)
    if not answer.get("state"):
        raise BadResponseError("no_state")
    if browser is None:
        raise BadResponseError("no_login_cookie")
    return Caller(answer, browser)


async def take_login(service: Service, provider: Provider, caller: Caller) -> Login:
    """Return the login that this browser began with this `state`; each is found only once."""
    login = await service.logins.take(caller.browser, caller.parameters["state"])
    if login is None:
        log.warning("login.failed", reason="login_unknown")
        raise Problem(Code.LOGIN_EXPIRED, "login_unknown")
    if (login.provider, login.iss) != (provider.registration.name, provider.issuer):
        raise _failed("login_of_other_issuer")
    return login


async def judge_id_token(
    service: Service,
    provider: Provider,
    grant: Grant,
    login: Login,
    answer: Mapping[str, str],
) -> IdToken:
    """Verify and judge the ID token; there must be one."""
    if grant.id_token is None:
        raise BadTokenError("no_id_token")
    return check_id_token(
        await provider.verified(grant.id_token),
        provider.registration.policy,
        service.clock(),
        nonce=login.nonce,
        access_token=grant.access_token,
        code=answer.get("code"),
        state=answer.get("state"),
        max_age=login.max_age,
        acr_values=login.acr_values,
        asked_at=login.started_at,
        essential=login.essential,
        sub=login.sub,
    )


async def gather_claims(
    provider: Provider,
    metadata: Metadata,
    grant: Grant,
    id_token: IdToken,
    key: ProofKey | None,
) -> dict[str, Any]:
    """Return the claims of the ID token, with those of the userinfo answer where it is asked."""
    claims = {name: value for name, value in id_token.claims.items() if name not in PROTOCOL_CLAIMS}
    if provider.registration.fetch_userinfo is False or metadata.userinfo_endpoint is None:
        return claims
    more = await token_endpoint.userinfo(
        provider, metadata.userinfo_endpoint, grant.access_token, id_token.sub, key
    )
    unfit = PROTOCOL_CLAIMS | SIGN_IN_CLAIMS
    return {name: value for name, value in more.items() if name not in unfit} | claims


def new_session(
    service: Service,
    provider: Provider,
    request: Request,
    session_id: str,
    grant: Grant,
    id_token: IdToken,
    claims: dict[str, Any],
    key: ProofKey | None,
) -> Session:
    """Return the session of a completed login."""
    now = service.clock()
    requested = frozenset(provider.registration.scopes)
    return Session(
        key=names.session_key(session_id),
        generation=0,
        iss=id_token.iss,
        sub=id_token.sub,
        sid=id_token.sid,
        claims=claims,
        tokens=Tokens.granted(
            access_token=grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=grant.refresh_token,
            id_token=id_token.raw,
            scope=requested if grant.scope is None else grant.scope,
            now=now,
        ),
        created_at=now,
        last_used_at=now,
        ends_at=absolute_end(now, service.settings.session_max_lifetime, id_token.claims),
        device=Device(client_of(request), browser_in_words(request.headers.get("user-agent"))),
        provider=provider.registration.name,
        proof_key=key,
    )


async def end_replaced(
    service: Service, request: Request, login: Login, browser: str, key: str
) -> None:
    """End the sessions that this browser had before: it holds one cookie, so one session."""
    carried = service.session_cookie.read(request.scope["headers"])
    before = {
        login.replaces,
        None if carried is None else names.session_key(carried),
        await service.logins.latest_session(browser, key),
    }
    for old in before - {None, key}:
        assert old is not None
        await service.store.end(old, EndReason.REPLACED)


def _failed(reason: str) -> Problem:
    log.warning("login.failed", reason=reason)
    return Problem(Code.LOGIN_FAILED, reason)
