"""`/bff/auth`: for those who keep their own reverse proxy (nginx, Caddy, Traefik, Envoy).

The proxy asks here before each request, with the browser's own headers and the key that only it
knows, and copies the `Authorization` that it gets. The answer is 200, 401 or 403; 400 for a path
that is refused on a route too. In this order:

1. Whoever asks has the key. Pages cannot, so no script reads the token that is returned.
2. What the browser asked for is read (`bff.web.asked`), and its path judged by the rules of routes.
3. The route of that path is judged as if the request had come to us; a path without one needs a
   session. Somebody who is not in BFF_TRUSTED_PROXIES is believed only what makes it stricter.
4. A navigation of a signed-out browser gets a 401 whose `Location` is the login that leads back,
   for proxies that can redirect by it, and whose body is a page with that link.

Source: contract, sections 3, 5 and 6.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

import structlog
from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.proxy.admission import LOGIN_URL, Admission, Grant
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.paths import BadPath, judge_path
from bff.proxy.route import Route
from bff.proxy.routes import RouteTable
from bff.proxy.wire import Address
from bff.settings import Settings
from bff.web.asked import HERE, Asked, asked_of_proxy
from bff.web.pages import NO_STORE, wants_page
from bff.web.problems import problem_answer
from bff.web.service import Service

KEY = b"x-bff-key"
ANY_SESSION = Route(prefix=b"", upstream=Address("http", "nowhere.invalid", 80))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})

log = structlog.get_logger("bff.request")


def router(service: Service, routes: RouteTable) -> APIRouter:
    """Return the routes of forward-auth; none where BFF_FORWARD_AUTH_KEY is unset."""
    pages = APIRouter()
    settings = service.settings
    if settings.forward_auth_key is None:
        return pages
    key = settings.forward_auth_key.get_secret_value().encode()
    trusted = TrustedProxies(settings.trusted_proxies)
    if not settings.trusted_proxies:
        log.warning("forward_auth.no_trusted_proxies", advice="set BFF_TRUSTED_PROXIES")
    admission = Admission(
        service.access, own_origin=settings.origin, allowed_origins=settings.allowed_origins
    )

    async def forward_auth(request: Request) -> Response:
        check_key(request, key)
        believed = request.client is not None and trusted.trusts(request.client.host)
        asked = None
        try:
            asked = asked_of_proxy(
                request.headers.raw,
                request.method,
                request.scope["raw_path"],
                request.scope["query_string"],
                origin=settings.origin,
            )
            route = judged_route(routes, asked, believed=believed)
            method = "GET" if asked is None else asked.method
            return granted(await admission.admit(route, method, request.headers.raw))
        except Problem as problem:
            return refused(request, settings, asked if believed else None, problem)

    pages.get(HERE.decode())(forward_auth)
    pages.api_route(f"{HERE.decode()}/{{target:path}}", methods=list(METHODS))(forward_auth)
    return pages


def check_key(request: Request, key: bytes) -> None:
    """Raise unauthenticated unless the request carries the key, once."""
    given = [value for name, value in request.headers.raw if name == KEY]
    if len(given) != 1 or not hmac.compare_digest(given[0], key):
        raise Problem(Code.UNAUTHENTICATED, "forward_auth_key")


def judged_route(routes: RouteTable, asked: Asked | None, *, believed: bool) -> Route:
    """Return the route of what was asked for; one that needs a session where there is none.

    Raises bad_path, and forbidden for a method that is refused on every route.
    """
    if asked is None:
        return ANY_SESSION
    if asked.method in REFUSED_METHODS:
        raise Problem(Code.FORBIDDEN, "method_refused")
    try:
        route = routes.match(judge_path(asked.path)) or ANY_SESSION
    except BadPath as error:
        raise Problem(Code.BAD_PATH, str(error)) from None
    return route if believed else replace(route, auth="user")


def granted(grant: Grant) -> Response:
    """Return the answer that lets a request pass, with what the upstream is to be told.

    Raises unauthenticated for a token that is bound to a key (of a session that began with
    BFF_DPOP): it is of no use to the proxy.
    """
    if grant.proof_key is not None:
        raise Problem(Code.UNAUTHENTICATED, "token_bound", login_url=LOGIN_URL)
    headers = dict(NO_STORE)
    if grant.authorization is not None:
        headers["Authorization"] = grant.authorization.decode("ascii")
    if grant.session is not None:
        headers["X-Forwarded-User"] = field_value(grant.session.sub)
    return Response(None, 200, headers)


def field_value(sub: str) -> str:
    """Return a `sub` as it is. Raises forbidden for one that no field can carry unchanged.

    Another spelling could be the `sub` of somebody else.
    """
    if not (sub and sub.isascii() and sub.isprintable() and sub.strip() == sub):
        raise Problem(Code.FORBIDDEN, "sub_not_sendable")
    return sub


def refused(
    request: Request, settings: Settings, asked: Asked | None, problem: Problem
) -> Response:
    """Return the answer that lets nobody pass; to a signed-out navigation with the way to sign in.

    What a proxy needs that does not pass on bodies (nginx) stands in fields, too.
    """
    level = log.error if problem.status >= 500 else log.info  # noqa: PLR2004
    level("request.refused", code=problem.code, reason=problem.reason, status=problem.status)
    headers = [*problem.headers, ("X-Bff-Code", problem.code)]
    if problem.status == 401:  # noqa: PLR2004
        login_url = problem.login_url or LOGIN_URL
        headers.append(("X-Bff-Login-Url", login_url))
        if asked is not None and asked.method == "GET" and wants_page(request.headers):
            headers.append(("Location", settings.base_url + asked.login_url(login_url)))
    return problem_answer(
        Problem(problem.code, problem.reason, headers=tuple(headers), login_url=problem.login_url),
        request.headers,
        request_id=request.state.request_id,
        path="/" if asked is None else (asked.path + asked.query).decode("ascii", "replace"),
        method=request.method if asked is None else asked.method,
    )
