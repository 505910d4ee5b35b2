"""`GET /bff/auth`: for those who keep their own reverse proxy (nginx, Caddy, Traefik, Envoy).

The proxy asks here before each request, with the browser's own headers and the key that only it
knows, and copies the `Authorization` that it gets. What the browser asked for is believed only from
a proxy in BFF_TRUSTED_PROXIES; then the route of that path is judged as if the request had come to
us. Otherwise a session is enough.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.proxy.admission import Admission
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.paths import BadPath, judge_path
from bff.proxy.route import Route
from bff.proxy.routes import RouteTable
from bff.proxy.wire import Address
from bff.settings import Settings
from bff.web.pages import NO_STORE
from bff.web.service import Service

KEY = "x-bff-key"
METHODS = ("x-forwarded-method", "x-original-method")
VISIBLE = re.compile(r"[\x21-\x7e]+")
NOWHERE = Address("http", "nowhere.invalid", 80)
TARGETS = ("x-forwarded-uri", "x-original-uri", "x-original-url")


def router(service: Service, routes: RouteTable) -> APIRouter:
    """Return the route of forward-auth; none where BFF_FORWARD_AUTH_KEY is unset."""
    pages = APIRouter()
    settings = service.settings
    if settings.forward_auth_key is None:
        return pages
    key = settings.forward_auth_key.get_secret_value().encode()
    trusted = TrustedProxies(settings.trusted_proxies)
    admission = Admission(
        service.access, own_origin=settings.origin, allowed_origins=settings.allowed_origins
    )

    @pages.get("/bff/auth")
    async def forward_auth(request: Request) -> Response:
        given = request.headers.get(KEY, "").encode("latin-1")
        if not hmac.compare_digest(given, key):
            raise Problem(Code.UNAUTHENTICATED, "forward_auth_key")
        believed = request.client is not None and trusted.trusts(request.client.host)
        method = first(request, METHODS) if believed else None
        route = asked_for(settings, routes, first(request, TARGETS) if believed else None)
        grant = await admission.admit(route, method or "GET", request.headers.raw)
        headers = dict(NO_STORE)
        if grant.authorization is not None:
            headers["Authorization"] = grant.authorization.decode("ascii")
        if grant.session is not None:
            sub = grant.session.sub
            headers["X-Forwarded-User"] = sub if VISIBLE.fullmatch(sub) else quote(sub, safe="")
        return Response(None, 200, headers)

    return pages


def first(request: Request, names: tuple[str, ...]) -> str | None:
    """Return the first of these fields that is there. Raises bad_request where one is doubled."""
    for name in names:
        values = request.headers.getlist(name)
        if len(values) > 1:
            raise Problem(Code.BAD_REQUEST, "doubled_original")
        if values:
            return values[0]
    return None


def asked_for(settings: Settings, routes: RouteTable, target: str | None) -> Route:
    """Return the route of what the browser asked for; one that asks for a session where none is."""
    any_session = Route(prefix=b"", upstream=NOWHERE)
    if target is None:
        return any_session
    path = target.removeprefix(settings.origin).partition("?")[0]
    try:
        return routes.match(judge_path(path.encode("latin-1"))) or any_session
    except BadPath as error:
        raise Problem(Code.BAD_PATH, str(error)) from None
