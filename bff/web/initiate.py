"""Login started by the provider, where switched on (OIDC Core 4).

Whoever can make a browser come here can start a login, so the address it leads to afterwards is
judged like any `return_to`, and the issuer must be ours.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from bff.errors import Code, Problem
from bff.oidc.authorization import BadOptionError, Options
from bff.web.login import begin
from bff.web.service import Service, form_pairs, once, query_pairs

PARAMETERS = ("iss", "login_hint", "target_link_uri")


def router(service: Service) -> APIRouter:
    """Return the routes of third-party-initiated login; none where it is switched off."""
    routes = APIRouter()
    if not service.settings.initiate_login:
        return routes

    @routes.get("/bff/initiate-login")
    async def initiate(request: Request) -> Response:
        return await start(service, request, query_pairs(request))

    @routes.post("/bff/initiate-login")
    async def initiate_by_form(request: Request) -> Response:
        return await start(service, request, await form_pairs(request))

    return routes


async def start(service: Service, request: Request, pairs: list[tuple[str, str]]) -> Response:
    """Begin a login at our provider, if that is who asks."""
    given = once(pairs, *PARAMETERS)
    if given.get("iss") != service.provider.issuer:
        raise Problem(Code.BAD_REQUEST, "initiate_iss", detail="iss is not the provider used here.")
    try:
        options = Options.parse({"login_hint": given.get("login_hint", "")})
    except BadOptionError:
        raise Problem(
            Code.BAD_REQUEST, "bad_login_option", detail="login_hint has a value that is not valid."
        ) from None
    return await begin(service, request, options, own_path(service, given.get("target_link_uri")))


def own_path(service: Service, target: str | None) -> str | None:
    """Return the path of a URL on this origin; None for any other."""
    origin = service.settings.base_url
    if target is None or not target.startswith(f"{origin}/"):
        return None
    return target.removeprefix(origin) if urlsplit(target).netloc else None
