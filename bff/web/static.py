"""The browser client: an ES module, and its types."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from bff.web.service import Service

FOLDER = Path(__file__).parent / "static"
HEADERS = {"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"}


def router(service: Service) -> APIRouter:
    """Return the routes of the browser client: nothing secret, so any origin may load it."""
    del service
    routes = APIRouter()

    @routes.api_route("/bff/client.js", methods=["GET", "HEAD"])
    async def client(request: Request) -> Response:
        del request
        return FileResponse(FOLDER / "client.js", media_type="text/javascript", headers=HEADERS)

    @routes.api_route("/bff/client.d.ts", methods=["GET", "HEAD"])
    async def types(request: Request) -> Response:
        del request
        return FileResponse(FOLDER / "client.d.ts", media_type="text/plain", headers=HEADERS)

    return routes
