"""For whoever runs us: is the process alive, can it take a login, and what are its public keys."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response

from bff.errors import StoreUnavailableError
from bff.web.pages import json_answer
from bff.web.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes for operators, and for the provider that reads our keys."""
    routes = APIRouter()

    @routes.api_route("/bff/healthz", methods=["GET", "HEAD"])
    async def healthz() -> Response:
        return json_answer({"status": "ok"})

    @routes.api_route("/bff/readyz", methods=["GET", "HEAD"])
    async def readyz() -> Response:
        store = "ok"
        try:
            await service.redis.ping()
        except StoreUnavailableError:
            store = "unavailable"
        known = any(party.provider.known for party in service.parties)
        provider = "ok" if known else "unavailable"
        ready = store == provider == "ok"
        return json_answer(
            {"status": "ok" if ready else "unavailable", "store": store, "provider": provider},
            200 if ready else 503,
        )

    @routes.get("/bff/jwks.json")
    async def jwks() -> Response:
        keys = [key for party in service.parties for key in party.provider.published_keys()]
        once = list({json.dumps(key, sort_keys=True): key for key in keys}.values())
        return json_answer({"keys": once}, headers={"Cache-Control": "public, max-age=300"})

    return routes
