"""Login started by the provider, where switched on (OIDC Core 4).

Whoever can make a browser come here can start a login, so it must be a navigation of the whole
window, which the user sees; the address it leads to afterwards is judged like any `return_to`; and
the issuer must be ours. What else is in the query, or in the form, is left alone.
"""

from __future__ import annotations

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
    if unseen(request):
        raise Problem(Code.CSRF, "initiate_unseen")
    given = once(pairs, *PARAMETERS)
    asking = service.parties.issuing(given.get("iss"))
    if not asking:
        raise Problem(Code.BAD_REQUEST, "initiate_iss", detail="iss is not the provider used here.")
    try:
        options = Options.parse({"login_hint": given.get("login_hint", "")})
    except BadOptionError:
        raise Problem(
            Code.BAD_REQUEST, "bad_login_option", detail="login_hint has a value that is not valid."
        ) from None
    return_to = own_path(service, given.get("target_link_uri"))
    return await begin(service, asking[0], request, options, return_to)


def unseen(request: Request) -> bool:
    """Whether a browser says that this is no navigation, or one of a frame (Fetch Metadata)."""
    mode = request.headers.get("sec-fetch-mode", "navigate")
    place = request.headers.get("sec-fetch-dest", "document")
    return (mode, place) != ("navigate", "document")


def own_path(service: Service, target: str | None) -> str | None:
    """Return what follows our origin in a URL of it; None for any other."""
    origin = service.settings.base_url
    if target is None or not target.startswith(f"{origin}/"):
        return None
    return target.removeprefix(origin)
