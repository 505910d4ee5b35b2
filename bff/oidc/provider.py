"""The provider: how we are registered there, how we prove ourselves, and which tokens are its own.

What it publishes is kept by `documents`. Tokens that anybody can bring and those that we fetched
may ask for newer keys on accounts of their own: a stream of the former must not keep the latter
from being believed after a rotation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from bff.errors import ProviderUnavailableError
from bff.issuers import ANY_TENANT, issuer_named
from bff.oidc.client_auth import PLAIN_METHODS, assertion, choose_method, raw_basic
from bff.oidc.client_keys import ClientKeys, SigningKey, load_keys
from bff.oidc.cool_down import Allowance
from bff.oidc.decryption import decrypt, is_encrypted
from bff.oidc.documents import Documents
from bff.oidc.dpop import Nonces
from bff.oidc.http import ProviderClient
from bff.oidc.keys import (
    BadTokenError,
    UnknownKeyError,
    VerificationKey,
    Verified,
    client_secret_key,
    verify,
)
from bff.oidc.metadata import Metadata, fixed_metadata, judge_metadata
from bff.oidc.mtls import SELF_SIGNED
from bff.oidc.registration import Registration

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
        plain = registration.oauth2_without_id_token
        fixed = None
        if plain is not None:
            fixed = fixed_metadata(self.issuer, plain, registration.end_session_endpoint)
        self._documents = Documents(self.issuer, self.client, self.judged, clock, fixed)
        self._for_ours, self._for_strangers = Allowance(clock), Allowance(clock)

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
        return self._documents.loaded is not None

    @property
    def loaded(self) -> Metadata | None:
        """The metadata if it is there, without asking anybody."""
        return self._documents.loaded

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
        self._documents.start()

    async def aclose(self) -> None:
        """Stop, and close every connection."""
        await self._documents.aclose()
        await self.client.aclose()

    async def metadata(self) -> Metadata:
        """Return the metadata, fetching it where discovery has not succeeded yet."""
        return await self._documents.metadata()

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
        documents = self._documents
        keys = await documents.keys()
        allowed = self._for_strangers if brought else self._for_ours
        for ask in (documents.newer_keys, documents.moved_keys):
            try:
                return verify(token, alg, keys)
            except UnknownKeyError:
                newer = await ask(keys, allowed)
                keys = keys if newer is None else newer
        return verify(token, alg, keys)
