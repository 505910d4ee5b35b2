"""Sign in, first half: `/bff/login` keeps what the answer must be held against, and sends the user
off to the provider. The second half is `bff.web.callback`.

A page may ask how the user is to be signed in (OIDC Core 3.1.2.1); what it asks for by
`acr_values`, `max_age` or essential `claims` is remembered with the login, and must come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc import front_channel
from bff.oidc.authorization import (
    BadOptionError,
    Options,
    Secrets,
    authorization_parameters,
    authorization_url,
)
from bff.oidc.dpop import ProofKey
from bff.oidc.plain_oauth2 import check_askable, plain_request
from bff.oidc.provider import Provider
from bff.return_to import safe_return_to
from bff.sessions import names
from bff.sessions.logins import Login
from bff.web.pages import page, redirect
from bff.web.service import Service, client_of, once, query_pairs
from bff.web.silent import refused_silently

OPTIONS = (
    "return_to", "provider", "prompt", "login_hint", "acr_values", "max_age", "ui_locales",
    "claims", "silent",
)  # fmt: skip
LOGIN = "/bff/login"
SILENT = ("silent", "true")

log = structlog.get_logger("bff.login")


def router(service: Service) -> APIRouter:
    """Return the routes of signing in."""
    routes = APIRouter()

    @routes.get(LOGIN)
    async def login(request: Request) -> Response:
        pairs = query_pairs(request)
        try:
            query = once(pairs, *OPTIONS)
            options = login_options(query)
            provider = await chosen(service, request, options, query.get("provider"))
            if provider is None:
                return choice(service, query)
            return await begin(service, provider, request, options, query.get("return_to"))
        except Problem as problem:
            if SILENT not in pairs:
                raise
            return refused_silently(service, problem)

    return routes


def login_options(query: Mapping[str, str]) -> Options:
    """Return what the page asks of the sign-in. Raises Problem."""
    try:
        return Options.parse(query)
    except BadOptionError as error:
        raise _bad_option(error) from None


async def chosen(
    service: Service, request: Request, options: Options, name: str | None
) -> Provider | None:
    """Return the provider to sign in at; None where the user must choose.

    Without a name, what is asked of a user who is signed in is asked of the session's provider.
    """
    if name is not None:
        party = service.parties.named(name)
        if party is None:
            raise Problem(
                Code.BAD_REQUEST, "unknown_provider", detail="provider is none of those used here."
            )
        return party.provider
    if len(service.parties) == 1:
        return service.parties.first.provider
    session = None
    if options != Options():
        session = await service.access.session(request.headers.raw, slide=False)
    if session is not None:
        return service.parties.of(session).provider
    return service.parties.first.provider if options.silent else None


def choice(service: Service, query: Mapping[str, str]) -> Response:
    """Return the page on which a user chooses a provider."""
    registrations = [party.provider.registration for party in service.parties]
    choices = [
        (one.label, f"{LOGIN}?{urlencode({**query, 'provider': one.name})}")
        for one in registrations
    ]
    return page("choose.html", choices=choices)


async def begin(
    service: Service, provider: Provider, request: Request, options: Options, return_to: str | None
) -> Response:
    """Keep a login and send the browser to the provider."""
    registration = provider.registration
    plain = registration.oauth2_without_id_token is not None
    if plain:
        try:
            check_askable(options)
        except BadOptionError as error:
            raise _bad_option(error) from None
    await service.rate_limit.check(client_of(request))
    metadata = await provider.metadata()
    secrets = Secrets.draw(service.randomness)
    cookie, headers = service.login_cookie, request.scope["headers"]
    browser = cookie.read(headers)
    if browser is None:
        browser, set_cookie = cookie.issue(service.randomness(32))
    else:
        set_cookie = cookie.renew(browser)
    current = service.session_cookie.read(headers)
    claims = options.claims
    key = ProofKey.generate() if registration.dpop else None
    await service.logins.keep(
        browser,
        secrets.state,
        Login(
            iss=provider.issuer,
            nonce=secrets.nonce,
            code_verifier=secrets.code_verifier,
            return_to=safe_return_to(return_to),
            max_age=options.max_age,
            acr_values=options.acr_values or (None if claims is None else claims.acr_values),
            essential=() if claims is None else claims.essential,
            sub=None if claims is None else claims.sub,
            silent=options.silent,
            provider=registration.name,
            replaces=None if current is None else names.session_key(current),
            proof_key=None if key is None else key.text,
        ),
    )
    parameters = authorization_parameters(
        client_id=registration.client_id,
        redirect_uri=service.redirect_uri(provider),
        scopes=registration.scopes,
        secrets=secrets,
        options=options,
        response_mode=registration.response_mode,
        extra=registration.authorize_params,
        resources=registration.resources,
        dpop_jkt=None if key is None else key.jkt,
    )
    if plain:
        parameters = plain_request(parameters)
    sent = await front_channel.outgoing(
        provider, metadata, parameters, service.clock(), service.randomness(16)
    )
    answer = redirect(authorization_url(metadata.authorization_endpoint, sent))
    answer.raw_headers.append((b"set-cookie", set_cookie.encode("latin-1")))
    log.info("login.started")
    return answer


def _bad_option(error: BadOptionError) -> Problem:
    return Problem(
        Code.BAD_REQUEST, "bad_login_option", detail=f"{error} has a value that cannot be used."
    )
