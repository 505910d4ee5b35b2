"""One TLS context for all connections to a Redis.

redis-py makes one a connection, each with a pass over every certification authority of the system:
some twenty milliseconds in which a worker does nothing else, sixty times in a row when many
connections are made at once. Here they share one; it is made anew after a minute, so that a
certificate that was exchanged on disk comes into use.
"""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio.connection import RedisSSLContext

LASTS = 60.0


class SharedContext:
    """The TLS context of all connections of one pool, or of several with the same settings."""

    def __init__(self) -> None:
        self._context: RedisSSLContext | None = None
        self._made_at = float("-inf")

    def keep(self, context: RedisSSLContext) -> None:
        """Take the settings of the first connection; those of all others are the same."""
        if self._context is None:
            self._context = context

    @property
    def current(self) -> RedisSSLContext:
        """The settings, and with them a context that is not too old."""
        assert self._context is not None
        if time.monotonic() - self._made_at > LASTS:
            self._made_at = time.monotonic()
            self._context.context = None
        return self._context


class SharesContext:
    """Mixed into a connection of redis-py, before its own class."""

    shared: SharedContext

    @property
    def ssl_context(self) -> RedisSSLContext:
        """What redis-py makes the TLS context by."""
        return self.shared.current

    @ssl_context.setter
    def ssl_context(self, context: RedisSSLContext) -> None:
        self.shared.keep(context)


def sharing(kind: type[Any], shared: SharedContext) -> type[Any]:
    """Return a class of connections as `kind` is, of which all share a context."""
    return type(kind.__name__, (SharesContext, kind), {"shared": shared})
