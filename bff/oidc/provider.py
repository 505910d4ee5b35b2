"""The provider: its metadata and keys, kept fresh, served stale rather than not at all.

Discovery is tried at start and, with growing pauses, until it succeeds; then again every ten
minutes, keys with it. A request that comes before the first success makes one attempt of its own.
A signature that no key explains fetches the keys anew, at most twice at once and then every ten
seconds, so that strangers cannot make us hammer the provider, and a rotation is still seen at once.
Tokens that anybody can bring and those that we fetched are counted apart: a stream of the former
must not keep the latter from being believed after a rotation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from bff.errors import ProviderUnavailableError
from bff.issuers import ANY_TENANT, issuer_named
from bff.oidc.client_auth import PLAIN_METHODS, assertion, choose_method, raw_basic
from bff.oidc.client_keys import ClientKeys, SigningKey, load_keys
from bff.oidc.cool_down import Refetches
from bff.oidc.decryption import decrypt, is_encrypted
from bff.oidc.dpop import Nonces
from bff.oidc.http import ProviderClient
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import (
    BadTokenError,
    UnknownKeyError,
    VerificationKey,
    Verified,
    client_secret_key,
    import_keys,
    verify,
)
from bff.oidc.metadata import (
    BadMetadataError,
    Metadata,
    discovery_url,
    fixed_metadata,
    judge_metadata,
)
from bff.oidc.mtls import SELF_SIGNED
from bff.oidc.registration import Registration

FRESH_FOR = 600.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
ATTEMPT_EVERY = 1.0

log = structlog.get_logger("bff.provider")


class Provider:
    """One provider. Methods raise ProviderUnavailableError when it cannot be asked."""

    def __init__(
        self, registration: Registration, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registration = registration
        self.issuer = registration.issuer
        certificate = registration.certificate
        self.client = ProviderClient(
            registration.client_id,
            registration.client_secret,
            None if certificate is None else certificate.context(),
        )
        for name, hook in PLAIN_METHODS.items():
            self.client.register(name, hook)
        if registration.raw_basic_auth:
            self.client.register("client_secret_basic", raw_basic)
        # What its two servers gave us last, kept apart: RFC 9449 8 (tokens) and 9 (userinfo).
        self.nonces, self.resource_nonces = Nonces(), Nonces()
        self.keys = ClientKeys()
        if registration.client_key_file is not None:
            self.keys = load_keys(registration.client_key_file)
        if self.keys.signer is not None:
            signer = self.keys.signer
            self.client.register(
                "private_key_jwt", assertion(registration.issuer, signer.key, signer.alg)
            )
        self._known_certificate: list[dict[str, Any]] = []
        unsaid = registration.client_auth is None and self.keys.signer is None
        if certificate is not None and (unsaid or registration.client_auth == SELF_SIGNED):
            jwk = certificate.jwk()
            self._known_certificate = [] if jwk is None else [jwk]
        self._static_keys: list[VerificationKey] = []
        if registration.client_secret is not None:
            if registration.client_auth == "client_secret_jwt":
                secret_key = client_secret_key(registration.client_secret)
                self.client.register(
                    "client_secret_jwt", assertion(registration.issuer, secret_key.key, "HS256")
                )
            if registration.policy.alg == "HS256":
                self._static_keys = [client_secret_key(registration.client_secret)]
        self._clock = clock
        self._metadata: Metadata | None = None
        plain = registration.oauth2_without_id_token
        if plain is not None:
            self._metadata = fixed_metadata(self.issuer, plain, registration.end_session_endpoint)
        self._keys: list[VerificationKey] | None = None
        self._attempted_at = self._keys_attempted_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._for_ours = Refetches(clock, filled_at=clock())
        self._for_strangers = Refetches(clock, filled_at=clock())
        self._keeper: asyncio.Task[None] | None = None

    def named_by(self, iss: object) -> str | None:
        """Return the true issuer that `iss` names, where it is this provider."""
        return issuer_named(iss, self.issuer, self.registration.policy.tenants)

    def judged(self, document: Mapping[str, Any]) -> Metadata:
        """Return the usable metadata in a discovery document. Raises BadMetadataError."""
        registration = self.registration
        return judge_metadata(
            document,
            self.issuer,
            mtls=registration.certificate is not None,
            end_session_endpoint=registration.end_session_endpoint,
        )

    @property
    def known(self) -> bool:
        """Whether discovery has succeeded, so that a login can begin."""
        return self._metadata is not None

    @property
    def loaded(self) -> Metadata | None:
        """The metadata if it is there, without asking anybody."""
        return self._metadata

    def client_auth_method(self, metadata: Metadata) -> str:
        """Return how we authenticate at this provider's endpoints."""
        registration = self.registration
        return choose_method(
            registration.client_auth,
            has_secret=registration.client_secret is not None,
            has_key=self.keys.signer is not None,
            has_certificate=registration.certificate is not None,
            offered=metadata.token_endpoint_auth_methods,
        )

    def published_keys(self) -> list[dict[str, Any]]:
        """Return the JWKs of `/bff/jwks.json`; with `x5c` where the certificate must be known."""
        return [*self.keys.published(), *self._known_certificate]

    def request_signer(self, metadata: Metadata) -> SigningKey | None:
        """Return the key that signs authorization requests; None where they go unsigned."""
        wanted = self.registration.request_object
        if not (metadata.demands_request_object if wanted is None else wanted):
            return None
        if self.keys.signer is None:
            log.error("provider.demands_signed_requests", advice="set BFF_CLIENT_KEY_FILE")
            raise ProviderUnavailableError("no_key_for_request_object")
        return self.keys.signer

    def start(self) -> None:
        """Begin to keep metadata and keys fresh, in the background; say what is relaxed."""
        if ANY_TENANT in self.registration.policy.tenants:
            advice = "anybody with a Microsoft account can sign in: name the tenants in BFF_TENANTS"
            log.warning("provider.any_tenant", issuer=self.issuer, advice=advice)
        if self.registration.oauth2_without_id_token is not None:
            advice = "nothing that is signed says who signed in: prefer OpenID Connect"
            log.warning("provider.without_id_token", issuer=self.issuer, advice=advice)
            return
        self._keeper = asyncio.create_task(self._keep_fresh(), name="provider")

    async def aclose(self) -> None:
        """Stop, and close every connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.client.aclose()

    async def metadata(self) -> Metadata:
        """Return the metadata, fetching it where discovery has not succeeded yet."""
        if self._metadata is None:
            async with self._fetching:
                if self._metadata is None:
                    if self._clock() - self._attempted_at < ATTEMPT_EVERY:
                        raise ProviderUnavailableError("discovery_failed")
                    await self._discover()
        assert self._metadata is not None
        return self._metadata

    async def verified(self, token: str, *, plain: bool = False, brought: bool = False) -> Verified:
        """Return a token of this provider's, opened, its signature checked. Raises BadTokenError.

        `plain`: it need not be encrypted even where ID tokens must be, because it is of another
        kind, with a registration of its own (userinfo and authorization responses).
        `brought`: whoever reaches us could have brought it; we did not get it from the provider.
        """
        if self.registration.oauth2_without_id_token is not None:
            raise BadTokenError("no_keys")
        if is_encrypted(token):
            token = decrypt(token, self.keys.decryption)
        elif self.registration.encryption_required and not plain:
            raise BadTokenError("not_encrypted")
        alg = self.registration.policy.alg
        if self._static_keys:
            return verify(token, alg, self._static_keys)
        keys = await self._current_keys()
        try:
            return verify(token, alg, keys)
        except UnknownKeyError as unknown:
            newer = await self._newer_keys(keys, self._for_strangers if brought else self._for_ours)
            if newer is None:
                raise unknown from None
            return verify(token, alg, newer)

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
                log.exception("provider.keeper_crashed", issuer=self.issuer)
                pause = min(pause * 2, LONGEST_PAUSE) if pause < FRESH_FOR else FIRST_PAUSE
            await asyncio.sleep(pause)

    async def _discover(self) -> None:
        try:
            document = await self._fetch(discovery_url(self.issuer))
            metadata = self.judged(document)
        except ProviderUnavailableError as error:
            log.warning("provider.discovery_failed", issuer=self.issuer, reason=error.reason)
            raise
        except BadMetadataError as error:
            log.error("provider.discovery_refused", issuer=self.issuer, reason=error.reason)  # noqa: TRY400 - a finding, not a crash
            raise ProviderUnavailableError(error.reason) from None
        finally:  # so that all who waited for a slow attempt do not make one each
            self._attempted_at = self._clock()
        if self._metadata is None:
            log.info("provider.discovered", issuer=self.issuer)
        if metadata.ignored and metadata != self._metadata:
            log.warning("provider.endpoints_ignored", endpoints=list(metadata.ignored))
        self._metadata = metadata

    async def _current_keys(self) -> list[VerificationKey]:
        if self._keys is None:
            await self.metadata()
            async with self._fetching:
                if self._keys is None:
                    if self._clock() - self._keys_attempted_at < ATTEMPT_EVERY:
                        raise ProviderUnavailableError("keys_failed")
                    await self._fetch_keys()
        assert self._keys is not None
        return self._keys

    async def _newer_keys(
        self, tried: list[VerificationKey], allowed: Refetches
    ) -> list[VerificationKey] | None:
        async with self._fetching:
            if self._keys is tried:
                if not allowed.take():
                    log.warning("provider.keys_cool_down", issuer=self.issuer)
                    return None
                try:
                    await self._fetch_keys()
                except ProviderUnavailableError:
                    return None
        return self._keys

    async def _fetch_keys(self) -> None:
        assert self._metadata is not None
        try:
            document = await self._fetch(self._metadata.jwks_uri)
            keys, skipped = import_keys(document)
        except BadJsonError:
            log.error("provider.keys_refused", issuer=self.issuer, reason="not_a_jwk_set")  # noqa: TRY400 - as above
            raise ProviderUnavailableError("keys_not_a_jwk_set") from None
        except ProviderUnavailableError as error:
            log.warning("provider.keys_failed", issuer=self.issuer, reason=error.reason)
            raise
        finally:
            self._keys_attempted_at = self._clock()
        if skipped:
            log.debug("provider.keys_skipped", issuer=self.issuer, count=skipped)
        self._keys = keys

    async def _fetch(self, url: str) -> dict[str, Any]:
        response = await self.client.get(url)
        if response.status_code != 200:  # noqa: PLR2004
            raise ProviderUnavailableError(f"status_{response.status_code}")
        try:
            return parse_object(response.content)
        except BadJsonError:
            raise ProviderUnavailableError("not_json") from None
