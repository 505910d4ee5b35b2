"""A request that was sent on a connection that had been idle, and may have been stale."""

from __future__ import annotations

from dataclasses import dataclass

from bff.proxy.connection import UpstreamConnection
from bff.proxy.expectant import Exchange
from bff.proxy.wire import IDEMPOTENT, UpstreamUnavailableError


@dataclass(slots=True)
class Sent:
    """A request that went out on a connection that had been idle; `error` tells that it failed."""

    exchange: Exchange
    connection: UpstreamConnection
    error: Exception | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again: the connection was stale (RFC 9110 section 9.2.2)."""
        connection = self.connection
        return (
            isinstance(self.error, UpstreamUnavailableError)
            and not (connection.answered or connection.body_begun)
            and self.exchange.method in IDEMPOTENT
        )
