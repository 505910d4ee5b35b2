"""`bff sessions`: what an operator may ask of the sessions, and do to them.

Works on the same Redis as the service, with the same secrets; an ending made here is heard by every
worker at once. What is shown names users, never tokens or session ids.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bff.configuration import registrations_of
from bff.issuers import ANY_TENANT, known_issuers
from bff.oidc.provider import Provider
from bff.sessions.directory import Directory
from bff.sessions.embedded import EmbeddedRedis, data_dir, kept_secret
from bff.sessions.redis import Redis, connect
from bff.sessions.revocation import Revoker
from bff.sessions.seal import Sealer
from bff.sessions.session import Session
from bff.sessions.store import FOR_EVER, EndReason, Lifetimes, SessionStore
from bff.settings import Settings
from bff.web.pages import timestamp

PATIENCE = 30.0  # for the provider to revoke what ended sessions held


@dataclass(frozen=True, slots=True)
class Office:
    """What the commands work with."""

    settings: Settings
    redis: Redis
    store: SessionStore
    directory: Directory
    revokers: Mapping[str, Revoker]

    async def issuers(self, sub: str) -> list[str]:
        """Return the issuers that may know a user, each once.

        Of a provider with any tenant (BFF_TENANTS) these are the ones of the user's sessions.
        """
        clients = (self.settings, *self.settings.providers.values())
        found = [one for client in clients for one in known_issuers(client.issuer, client.tenants)]
        if any(ANY_TENANT in client.tenants for client in clients):
            everybody = self.directory.everybody()
            found += [session.iss async for session in everybody if session.sub == sub]
        return list(dict.fromkeys(found))

    async def revoke(self, ended: Sequence[Session]) -> None:
        """Begin to revoke what ended sessions held, each at its own provider."""
        for name, revoker in self.revokers.items():
            await revoker.revoke(*(session for session in ended if session.provider == name))


@asynccontextmanager
async def office(settings: Settings) -> AsyncGenerator[Office]:
    """Open the store of a configuration. Raises StoreUnavailableError when it is used."""
    embedded: EmbeddedRedis | None = None
    if settings.redis_url is None:
        folder = data_dir(settings.data_dir)
        embedded = EmbeddedRedis(folder)
        embedded.start()
        url, secrets = embedded.url, settings.secrets or (kept_secret(folder),)
    else:
        url, secrets = settings.redis_url.get_secret_value(), settings.secrets
    redis = connect(url)
    providers = {one.name: Provider(one) for one in registrations_of(settings)}
    lifetimes = Lifetimes(settings.session_idle_timeout, settings.session_max_lifetime)
    store = SessionStore(redis, Sealer(secrets, "session"), lifetimes)
    revokers = {name: Revoker(provider) for name, provider in providers.items()}
    try:
        yield Office(settings, redis, store, Directory(redis, store), revokers)
    finally:
        for revoker in revokers.values():
            await revoker.aclose(PATIENCE)
        for provider in providers.values():
            await provider.aclose()
        await redis.aclose()
        if embedded is not None:
            embedded.stop()


async def chosen(at: Office, sub: str | None) -> list[Session]:
    """Return the sessions of a user, or everybody's, the newest first."""
    if sub is not None:
        of_user = [await at.directory.of_user(issuer, sub) for issuer in await at.issuers(sub)]
        return [session for sessions in of_user for session in sessions]
    found = [session async for session in at.directory.everybody()]
    return sorted(found, key=lambda session: session.created_at, reverse=True)


async def count(settings: Settings, sub: str | None, *, as_json: bool) -> None:
    """Print how many sessions there are."""
    async with office(settings) as at:
        number = len(await chosen(at, sub))
    sys.stdout.write(json.dumps({"count": number}) + "\n" if as_json else f"{number}\n")


async def show(settings: Settings, sub: str | None, page: int, size: int, *, as_json: bool) -> None:
    """Print one page of sessions; pages count from 1."""
    async with office(settings) as at:
        sessions = await chosen(at, sub)
    part = sessions[(page - 1) * size : page * size]
    if as_json:
        rows = [facts(session) for session in part]
        sys.stdout.write(
            json.dumps({"count": len(sessions), "page": page, "sessions": rows}) + "\n"
        )
        return
    table = Table("id", "sub", "created", "last used", "address", "browser", box=None)
    for session in part:
        table.add_row(*facts(session).values())
    console = Console()
    console.print(table)
    pages = max(1, -(-len(sessions) // size))
    console.print(f"{len(sessions)} sessions, page {page} of {pages}", style="dim")


async def end(settings: Settings, display_id: str | None, sub: str | None, *, as_json: bool) -> int:
    """End sessions by id, by user, or all of them; print and return how many.

    Those of a user end together with what is on its way: a login that has begun fails.
    """
    reason = EndReason.ENDED_BY_OPERATOR
    async with office(settings) as at:
        if sub is not None:
            ended = [
                session
                for issuer in await at.issuers(sub)
                for session in await at.store.end_sub(issuer, sub, FOR_EVER, reason)
            ]
        else:
            keys = [
                session.key
                for session in await chosen(at, None)
                if display_id is None or session.display_id == display_id
            ]
            ended = await at.store.end_many(keys, reason)
        await at.revoke(ended)
    number = len(ended)
    sys.stdout.write(json.dumps({"ended": number}) + "\n" if as_json else f"{number} ended\n")
    return number


def facts(session: Session) -> dict[str, str]:
    """Return what an operator is shown of a session."""
    return {
        "id": session.display_id,
        "sub": session.sub,
        "created_at": timestamp(session.created_at),
        "last_used_at": timestamp(session.last_used_at),
        "address": session.device.address,
        "browser": session.device.browser,
    }
