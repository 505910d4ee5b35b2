"""Sends a browser that came by another name of this machine to the one that has the cookies."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HOUSEKEEPING = ("/bff/healthz", "/bff/readyz", "/bff/backchannel-logout")


class OneHost:
    """The service behind a check of the `Host`."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._base_url = base_url
        self._host = base_url.partition("://")[2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect a GET that asks another host, except those of machines."""
        if scope["type"] == "http" and scope["method"] == "GET":
            host = Headers(scope=scope).get("host")
            if host != self._host and scope["path"] not in HOUSEKEEPING:
                query = scope["query_string"].decode("latin-1")
                path = scope["raw_path"].decode("latin-1")
                url = self._base_url + path + (f"?{query}" if query else "")
                await RedirectResponse(url, 307)(scope, receive, send)
                return
        await self._app(scope, receive, send)
