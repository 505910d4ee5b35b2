"""Fetches the issuer's signing keys by its discovery document, and keeps them.

The set is fetched when the first token comes, after ten minutes, and when a token names an unknown
key (a rotation), but never more than five times in ten seconds, so that made-up key names cause no
flood. All who wait share one fetch. Old keys are used on while the issuer is away.

Source: OpenID Connect Discovery 1.0 section 4, RFC 7517.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import httpx2

from bff.demo.api.tokens import InvalidTokenError, import_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import RSAKey

MAX_AGE = 600.0
BURST, BURST_PERIOD = 5, 10.0
TIMEOUT = 5.0
MAX_BYTES = 256 * 1024


class KeysUnavailableError(Exception):
    """No key is known and the issuer cannot be asked just now."""


class IssuerKeys:
    """The keys of `issuer`. `clock` is monotonic, in seconds."""

    def __init__(self, issuer: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str, RSAKey] = {}
        self._fetched_at: float | None = None
        self._tries: deque[float] = deque(maxlen=BURST)
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> RSAKey:
        """Return the key named `kid`. Raises InvalidTokenError, KeysUnavailableError."""
        if self._must_fetch(kid):
            async with self._lock:
                if self._must_fetch(kid):
                    await self._fetch()
        if kid in self._keys:
            return self._keys[kid]
        if self._fetched_at is None:
            raise KeysUnavailableError
        raise InvalidTokenError("unknown_key")

    def _must_fetch(self, kid: str) -> bool:
        now = self._clock()
        fresh = self._fetched_at is not None and now - self._fetched_at < MAX_AGE
        if fresh and kid in self._keys:
            return False
        return len(self._tries) < BURST or now - self._tries[0] >= BURST_PERIOD

    async def _fetch(self) -> None:
        self._tries.append(self._clock())
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
            try:
                async with asyncio.timeout(TIMEOUT):
                    metadata = await _fetch_json(
                        http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                    )
                    if metadata.get("issuer") != self._issuer:
                        return
                    keys = import_keys(await _fetch_json(http, str(metadata.get("jwks_uri"))))
            except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, RecursionError):
                return
        if keys:
            self._keys, self._fetched_at = keys, self._clock()


async def _fetch_json(http: httpx2.AsyncClient, url: str) -> Mapping[str, object]:
    async with http.stream("GET", url) as answer:
        answer.raise_for_status()
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
    value: object = json.loads(body)
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
