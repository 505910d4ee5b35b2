"""What the provider publishes, kept fresh, and served stale rather than not at all.

Discovery is tried at start and, with growing pauses, until it succeeds; then again every ten
minutes, keys with it. A request that comes before the first success makes one attempt of its own.
A signature that no key explains fetches the keys anew; where that fails or does not help, discovery
is read again, in case the keys have moved. Each happens at most twice at once and then every ten
seconds, so that strangers cannot make us hammer the provider, and a rotation is still seen at once.
Whoever waited for another's fetch takes what it brought.

Source: OpenID Connect Discovery 1.0, section 4; OIDC Core, section 10.1.1 (rotation).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from bff.errors import ProviderUnavailableError
from bff.oidc.cool_down import Allowance
from bff.oidc.http import ProviderClient
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import VerificationKey, import_keys
from bff.oidc.metadata import BadMetadataError, Metadata, discovery_url

FRESH_FOR = 600.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
ATTEMPT_EVERY = 1.0

log = structlog.get_logger("bff.provider")


class Documents:
    """Metadata and keys of one provider. Methods raise ProviderUnavailableError where it is away.

    `judge` makes metadata of a discovery document, or raises BadMetadataError; `loaded` is the
    metadata if it is there, or what it is without discovery; `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        issuer: str,
        client: ProviderClient,
        judge: Callable[[Mapping[str, Any]], Metadata],
        clock: Callable[[], float],
        loaded: Metadata | None = None,
    ) -> None:
        self.loaded = loaded
        self._issuer = issuer
        self._client = client
        self._judge = judge
        self._clock = clock
        self._keys: list[VerificationKey] | None = None
        self._keys_asked_by: Metadata | None = None
        self._attempted_at = self._keys_attempted_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep both fresh, in the background."""
        self._keeper = asyncio.create_task(self._keep_fresh(), name="provider")

    async def aclose(self) -> None:
        """Stop."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def metadata(self) -> Metadata:
        """Return the metadata, fetching it where discovery has not succeeded yet."""
        if self.loaded is None:
            async with self._fetching:
                if self.loaded is None:
                    if self._clock() - self._attempted_at < ATTEMPT_EVERY:
                        raise ProviderUnavailableError("discovery_failed")
                    await self._discover()
        assert self.loaded is not None
        return self.loaded

    async def keys(self) -> list[VerificationKey]:
        """Return the keys, fetching them where that has not succeeded yet."""
        if self._keys is None:
            await self.metadata()
            async with self._fetching:
                if self._keys is None:
                    if self._clock() - self._keys_attempted_at < ATTEMPT_EVERY:
                        raise ProviderUnavailableError("keys_failed")
                    await self._fetch_keys()
        assert self._keys is not None
        return self._keys

    async def newer_keys(
        self, tried: list[VerificationKey], allowed: Allowance
    ) -> list[VerificationKey] | None:
        """Return keys that came after those that were tried; None where there are none."""
        async with self._fetching:
            if self._keys is tried:
                if not allowed.keys.take():
                    log.warning("provider.keys_cool_down", issuer=self._issuer)
                    return None
                with contextlib.suppress(ProviderUnavailableError):
                    await self._fetch_keys()
        return None if self._keys is tried else self._keys

    async def moved_keys(
        self, tried: list[VerificationKey], allowed: Allowance
    ) -> list[VerificationKey] | None:
        """Return the keys of another address than those that were tried; None where it is none."""
        async with self._fetching:
            if self._keys is tried:
                asked = self._keys_asked_by
                if self.loaded is asked and not allowed.discovery.take():
                    log.warning("provider.discovery_cool_down", issuer=self._issuer)
                    return None
                with contextlib.suppress(ProviderUnavailableError):
                    if self.loaded is asked:
                        await self._discover()
                    assert self.loaded is not None
                    if asked is not None and self.loaded.jwks_uri != asked.jwks_uri:
                        log.info("provider.keys_moved", issuer=self._issuer)
                        await self._fetch_keys()
        return None if self._keys is tried else self._keys

    async def _keep_fresh(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._fetching:
                    await self._discover()
                    await self._fetch_keys()
                pause = FRESH_FOR
            except ProviderUnavailableError:
                pause = min(pause * 2, LONGEST_PAUSE) if pause < FRESH_FOR else FIRST_PAUSE
            except Exception:  # a fault of ours must not end the watch
                log.exception("provider.keeper_crashed", issuer=self._issuer)
                pause = min(pause * 2, LONGEST_PAUSE) if pause < FRESH_FOR else FIRST_PAUSE
            await asyncio.sleep(pause)

    async def _discover(self) -> None:
        try:
            metadata = self._judge(await self._fetch(discovery_url(self._issuer)))
        except ProviderUnavailableError as error:
            log.warning("provider.discovery_failed", issuer=self._issuer, reason=error.reason)
            raise
        except BadMetadataError as error:
            log.error("provider.discovery_refused", issuer=self._issuer, reason=error.reason)  # noqa: TRY400 - a finding, not a crash
            raise ProviderUnavailableError(error.reason) from None
        finally:  # so that all who waited for a slow attempt do not make one each
            self._attempted_at = self._clock()
        if self.loaded is None:
            log.info("provider.discovered", issuer=self._issuer)
        if metadata.ignored and metadata != self.loaded:
            log.warning("provider.endpoints_ignored", endpoints=list(metadata.ignored))
        self.loaded = metadata

    async def _fetch_keys(self) -> None:
        assert self.loaded is not None
        self._keys_asked_by = self.loaded
        try:
            keys, skipped = import_keys(await self._fetch(self.loaded.jwks_uri))
        except BadJsonError:
            log.error("provider.keys_refused", issuer=self._issuer, reason="not_a_jwk_set")  # noqa: TRY400 - as above
            raise ProviderUnavailableError("keys_not_a_jwk_set") from None
        except ProviderUnavailableError as error:
            log.warning("provider.keys_failed", issuer=self._issuer, reason=error.reason)
            raise
        finally:
            self._keys_attempted_at = self._clock()
        if skipped:
            log.debug("provider.keys_skipped", issuer=self._issuer, count=skipped)
        self._keys = keys

    async def _fetch(self, url: str) -> dict[str, Any]:
        response = await self._client.get(url)
        if response.status_code != 200:  # noqa: PLR2004
            raise ProviderUnavailableError(f"status_{response.status_code}")
        try:
            return parse_object(response.content)
        except BadJsonError:
            raise ProviderUnavailableError("not_json") from None
