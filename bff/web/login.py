"""Sign in: `/bff/login`, and the callback with its steps in their one right order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc import token_endpoint
from bff.oidc.authorization import (
    BadOptionError,
    BadResponseError,
    Options,
    Secrets,
    authorization_parameters,
    authorization_url,
    check_issuer,
    granted_code,
    single_parameters,
)
from bff.oidc.grants import Grant, RefusedError
from bff.oidc.keys import BadTokenError
from bff.oidc.metadata import Metadata
from bff.oidc.tokens import IdToken, check_id_token
from bff.return_to import safe_return_to
from bff.sessions import names
from bff.sessions.device import Device, browser_in_words
from bff.sessions.logins import Login
from bff.sessions.session import Session, Tokens, absolute_end
from bff.sessions.store import EndReason, LoggedOutError
from bff.web.pages import page, redirect
from bff.web.service import Service, form_pairs, once, query_pairs

OPTIONS = ("return_to", "prompt", "login_hint", "acr_values", "max_age", "ui_locales")
PROTOCOL_CLAIMS = frozenset(
    {
        "iss",
        "aud",
        "exp",
        "iat",
        "nbf",
        "nonce",
        "azp",
        "at_hash",
        "c_hash",
        "s_hash",
        "jti",
        "sid",
        "typ",
        "session_state",
    }
)

log = structlog.get_logger("bff.login")


@dataclass(frozen=True, slots=True)
class Caller:
    """What of the browser's request decides: the answer's parameters, and its login cookie."""

    parameters: dict[str, str]
    browser: str


def router(service: Service) -> APIRouter:
    """Return the routes of signing in."""
    routes = APIRouter()

    @routes.get("/bff/login")
    async def login(request: Request) -> Response:
        query = once(query_pairs(request), *OPTIONS)
        try:
            options = Options.parse(query)
        except BadOptionError as error:
            raise Problem(
                Code.BAD_REQUEST,
                "bad_login_option",
                detail=f"{error} has a value that is not valid.",
            ) from None
        return await begin(service, request, options, query.get("return_to"))

    @routes.get("/bff/callback")
    async def callback(request: Request) -> Response:
        return await complete(service, request, query_pairs(request))

    @routes.post("/bff/callback")
    async def callback_form_post(request: Request) -> Response:
        return await complete(service, request, await form_pairs(request))

    return routes


async def begin(
    service: Service, request: Request, options: Options, return_to: str | None
) -> Response:
    """Keep a login and send the browser to the provider."""
    await service.rate_limit.check(request.state.client)
    metadata = await service.provider.metadata()
    secrets = Secrets.draw(service.randomness)
    cookie = service.login_cookie
    browser = cookie.read(request.headers.raw)
    if browser is None:
        browser, set_cookie = cookie.issue(service.randomness(32))
    else:
        set_cookie = cookie.renew(browser)
    current = service.session_cookie.read(request.headers.raw)
    await service.logins.keep(
        browser,
        secrets.state,
        Login(
            iss=service.provider.issuer,
            nonce=secrets.nonce,
            code_verifier=secrets.code_verifier,
            return_to=safe_return_to(return_to),
            max_age=options.max_age,
            acr_values=options.acr_values,
            replaces=None if current is None else names.session_key(current),
        ),
    )
    registration = service.provider.registration
    parameters = authorization_parameters(
        client_id=registration.client_id,
        redirect_uri=service.redirect_uri,
        scopes=registration.scopes,
        secrets=secrets,
        options=options,
        response_mode=registration.response_mode,
        extra=registration.authorize_params,
    )
    if metadata.pushed_authorization_request_endpoint is not None:
        endpoint = metadata.pushed_authorization_request_endpoint
        request_uri = await token_endpoint.push(service.provider, endpoint, parameters)
        parameters = {"client_id": registration.client_id, "request_uri": request_uri}
    answer = redirect(authorization_url(metadata.authorization_endpoint, parameters))
    answer.headers.append("set-cookie", set_cookie)
    log.info("login.started")
    return answer


async def complete(service: Service, request: Request, pairs: list[tuple[str, str]]) -> Response:
    """Judge the provider's answer step by step; make a session only if every step holds."""
    try:
        metadata = await service.provider.metadata()
        caller = read_answer(service, request, pairs, metadata)
        login = await take_login(service, caller)
        code = granted_code(caller.parameters).code
        grant = await token_endpoint.exchange(
            service.provider, code, login.code_verifier, service.redirect_uri
        )
        id_token = await judge_id_token(service, grant, login)
        claims = await gather_claims(service, metadata, grant, id_token)
    except BadResponseError as error:
        raise _failed(error.reason) from None
    except RefusedError as error:
        raise _failed(f"token_endpoint_{error.reason}") from None
    except BadTokenError as error:
        raise _failed(error.reason) from None
    session_id, set_cookie = service.session_cookie.issue(service.randomness(32))
    session = new_session(service, request, session_id, grant, id_token, claims)
    try:
        await service.store.create(
            session, issued_at=id_token.issued_at, started_at=login.started_at
        )
    except LoggedOutError:
        await service.revoker.revoke(session)
        raise _failed("logged_out_meanwhile") from None
    await end_replaced(service, request, login, caller.browser, session.key)
    await service.revoker.revoke(*await service.directory.keep_to_limit(session))
    log.info("login.completed", session=session.display_id)
    answer = page("hop.html", return_to=login.return_to)
    answer.headers.append("set-cookie", set_cookie)
    return answer


def read_answer(
    service: Service, request: Request, pairs: list[tuple[str, str]], metadata: Metadata
) -> Caller:
    """Read the answer: nothing twice, from our provider, in a browser that began a login."""
    parameters = single_parameters(pairs)
    check_issuer(parameters, issuer=metadata.issuer, promises_iss=metadata.promises_iss)
    if not parameters.get("state"):
        raise BadResponseError("no_state")
    browser = service.login_cookie.read(request.headers.raw)
    if browser is None:
        raise BadResponseError("no_login_cookie")
    return Caller(parameters, browser)


async def take_login(service: Service, caller: Caller) -> Login:
    """Return the login that this browser began with this `state`; each is found only once."""
    login = await service.logins.take(caller.browser, caller.parameters["state"])
    if login is None:
        log.warning("login.failed", reason="login_unknown")
        raise Problem(Code.LOGIN_EXPIRED, "login_unknown")
    if login.iss != service.provider.issuer:
        raise BadResponseError("login_of_other_issuer")
    return login


async def judge_id_token(service: Service, grant: Grant, login: Login) -> IdToken:
    """Verify and judge the ID token; there must be one."""
    if grant.id_token is None:
        raise BadTokenError("no_id_token")
    return check_id_token(
        await service.provider.verified(grant.id_token),
        service.provider.registration.policy,
        service.clock(),
        nonce=login.nonce,
        access_token=grant.access_token,
        max_age=login.max_age,
        acr_values=login.acr_values,
    )


async def gather_claims(
    service: Service, metadata: Metadata, grant: Grant, id_token: IdToken
) -> dict[str, Any]:
    """Return the claims of the ID token, with those of the userinfo answer where it is asked."""
    claims = {name: value for name, value in id_token.claims.items() if name not in PROTOCOL_CLAIMS}
    if service.provider.registration.fetch_userinfo is False or metadata.userinfo_endpoint is None:
        return claims
    more = await token_endpoint.userinfo(
        service.provider, metadata.userinfo_endpoint, grant.access_token, id_token.sub
    )
    return {name: value for name, value in more.items() if name not in PROTOCOL_CLAIMS} | claims


def new_session(
    service: Service,
    request: Request,
    session_id: str,
    grant: Grant,
    id_token: IdToken,
    claims: dict[str, Any],
) -> Session:
    """Return the session of a completed login."""
    now = service.clock()
    requested = frozenset(service.provider.registration.scopes)
    return Session(
        key=names.session_key(session_id),
        generation=0,
        iss=service.provider.issuer,
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
        device=Device(request.state.client, browser_in_words(request.headers.get("user-agent"))),
    )


async def end_replaced(
    service: Service, request: Request, login: Login, browser: str, key: str
) -> None:
    """End the sessions that this browser had before: it holds one cookie, so one session."""
    carried = service.session_cookie.read(request.headers.raw)
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
