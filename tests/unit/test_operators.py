"""Whose sessions an operator means by a user, where one provider has issuers for many tenants."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bff.operators import chosen, office
from bff.sessions.store import SessionStore
from bff.settings import Settings
from tests.support.sessions import a_session

MICROSOFT = "https://login.microsoftonline.com"
ONE = "11111111-2222-3333-4444-555555555555"
TWO = "99999999-2222-3333-4444-555555555555"


def settings(redis_url: str, **values: Any) -> Settings:
    """Return the configuration of a service with a provider of several tenants."""
    needed = {
        "base_url": "https://app.example.com", "issuer": f"{MICROSOFT}/common/v2.0",
        "client_id": "app", "client_secret": "hush", "secret": "x" * 40, "redis_url": redis_url,
    }  # fmt: skip
    return Settings.load(Path("none.env"), **{**needed, **values})


def of_tenant(tenant: str) -> str:
    """Return the issuer of a tenant."""
    return f"{MICROSOFT}/{tenant}/v2.0"


async def put(store: SessionStore, name: str, **changes: Any) -> None:
    """Write a session that lives by the clock of this machine."""
    now = time.time()
    session = a_session(name, now, **changes)
    await store.create(session, issued_at=now, started_at=now)


async def test_a_user_is_found_at_every_tenant(redis_url: str) -> None:
    """Of listed tenants by the list; of any tenant by the sessions that there are."""
    async with office(settings(redis_url, tenants=[ONE])) as at:
        assert await at.issuers("alice") == [of_tenant(ONE)]
        await put(at.store, "one", iss=of_tenant(ONE))
        await put(at.store, "two", iss=of_tenant(TWO))
        await put(at.store, "three", iss=of_tenant(TWO), sub="bob")
        assert [session.iss for session in await chosen(at, "alice")] == [of_tenant(ONE)]
    async with office(settings(redis_url, tenants=["*"])) as at:
        assert await at.issuers("bob") == [of_tenant(TWO)]
        found = {session.iss for session in await chosen(at, "alice")}
        assert found == {of_tenant(ONE), of_tenant(TWO)}


async def test_another_provider_is_asked_too(redis_url: str) -> None:
    """Each issuer once."""
    google = "https://accounts.google.com"
    entry = {"issuer": google, "client_id": "x", "client_secret": "y"}
    both = settings(redis_url, tenants=[ONE], providers={"google": entry, "again": entry})
    async with office(both) as at:
        assert await at.issuers("alice") == [of_tenant(ONE), google]
