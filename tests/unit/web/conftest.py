"""A real Redis for what counts in it, and the pages of forward-auth for those who ask."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.unit.web.asking import KEY, PROXY, Ask, Sessions, application


@pytest.fixture
def sessions() -> Sessions:
    """Who is signed in."""
    return Sessions()


@pytest.fixture
async def ask(sessions: Sessions) -> AsyncIterator[Ask]:
    """Ask as a proxy does: the key, and for a path; `peer` is who asks."""
    app = application(sessions)

    async def ask(
        target: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        peer: str = PROXY,
        method: str | None = None,
        path: str = "/bff/auth",
        by: str = "GET",
    ) -> httpx2.Response:
        fields = [("X-Bff-Key", KEY), *(headers or {}).items()]
        if target is not None:
            fields.append(("X-Original-URI", target))
        if method is not None:
            fields.append(("X-Original-Method", method))
        transport = httpx2.ASGITransport(app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://bff") as client:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
            return await client.request(by, path, headers=raw)

    yield ask
