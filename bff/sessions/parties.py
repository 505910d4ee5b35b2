"""The providers that users may choose from, and for each what keeps or gives up its tokens.

A session remembers the name of its provider. One whose provider is no longer configured stays until
it ends, but its tokens can be neither refreshed nor revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog

from bff.errors import ProviderUnavailableError
from bff.oidc.provider import Provider
from bff.sessions.refresh import Refresher
from bff.sessions.revocation import Revoker
from bff.sessions.session import Session
from bff.sessions.upstream_tokens import UpstreamTokens

log = structlog.get_logger("bff.provider")


@dataclass(frozen=True, slots=True)
class Party:
    """One provider, and its part of the work."""

    provider: Provider
    refresher: Refresher
    upstream_tokens: UpstreamTokens
    revoker: Revoker


class Parties:
    """All providers by name, the first of the configuration first."""

    def __init__(self, parties: Mapping[str, Party]) -> None:
        self._parties = dict(parties)
        self.first = next(iter(self._parties.values()))

    def __iter__(self) -> Iterator[Party]:
        """Iterate over all of them, in the order of the configuration."""
        return iter(self._parties.values())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._parties)

    def named(self, name: str) -> Party | None:
        """Return the one of this name."""
        return self._parties.get(name)

    def of(self, session: Session) -> Party:
        """Return the one that a session is of.

        Raises ProviderUnavailableError where it is not configured any more.
        """
        party = self._parties.get(session.provider)
        if party is None:
            log.warning("provider.not_configured", provider=session.provider)
            raise ProviderUnavailableError("provider_not_configured")
        return party

    def issuing(self, iss: object) -> list[Provider]:
        """Return those whose issuer this is: several, where we are registered more than once."""
        return [party.provider for party in self if party.provider.named_by(iss) is not None]

    async def revoke(self, *sessions: Session | None) -> None:
        """Revoke what sessions held, each at its own provider; return after a second at most."""
        held = [session for session in sessions if session is not None]
        if not held:
            return
        await asyncio.gather(
            *(
                party.revoker.revoke(*(one for one in held if one.provider == name))
                for name, party in self._parties.items()
            )
        )
