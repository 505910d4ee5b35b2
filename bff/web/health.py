"""For whoever runs us: is the process alive, can it take a login, and what are its public keys."""

from __future__ import annotations

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
        provider = "ok" if service.provider.known else "unavailable"
        ready = store == provider == "ok"
        return json_answer(
            {"status": "ok" if ready else "unavailable", "store": store, "provider": provider},
            200 if ready else 503,
        )

    @routes.get("/bff/jwks.json")
    async def jwks() -> Response:
        keys = service.provider.published_keys()
        return json_answer({"keys": keys}, headers={"Cache-Control": "public, max-age=300"})

    return routes
