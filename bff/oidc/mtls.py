"""Our TLS certificate: shown to the provider, and published where it wants to know it (RFC 8705).

The certificate proves who we are (`tls_client_auth`, `self_signed_tls_client_auth`) and binds
access tokens to the connection that asked for them (section 3). Endpoints that the provider lists
under `mtls_endpoint_aliases` (section 5) are used instead of the ordinary ones: see `metadata`.
"""

from __future__ import annotations

import base64
import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

SELF_SIGNED = "self_signed_tls_client_auth"


class BadCertificateError(ValueError):
    """BFF_CLIENT_CERT_FILE and its key cannot be used; the text ends a sentence."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate chain in PEM, and its key (None: in the same file)."""

    file: Path
    key_file: Path | None

    def context(self) -> ssl.SSLContext:
        """Return a TLS context that shows the certificate. Raises BadCertificateError."""
        context = tls_context()
        try:
            # An empty password: a key that is encrypted is an error, not a question to the console.
            context.load_cert_chain(self.file, self.key_file, password="")
        except (OSError, ValueError):
            raise BadCertificateError(
                "is no certificate in PEM form whose unencrypted key is in BFF_CLIENT_CERT_KEY_FILE"
            ) from None
        return context

    def expires_at(self) -> datetime.datetime:
        """Return when the certificate ends, in UTC. Raises BadCertificateError."""
        return self._chain()[0].not_valid_after_utc

    def jwk(self) -> dict[str, Any] | None:
        """Return the certificate as a JWK with `x5c` (RFC 8705 2.2.2); None for other key types."""
        chain = self._chain()
        try:
            public = chain[0].public_key()
        except (UnsupportedAlgorithm, ValueError):
            return None
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for kind in (RSAKey, ECKey, OKPKey):
            try:
                key = kind.import_key(pem)
            except (JoseError, ValueError, TypeError, AttributeError):
                continue
            key.ensure_kid()
            x5c = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]
            return {**key.as_dict(private=False), "use": "sig", "x5c": x5c}
        return None

    def _chain(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self.file.read_bytes())
        except (OSError, ValueError):
            raise BadCertificateError("holds no certificate in PEM form") from None


def tls_context() -> ssl.SSLContext:
    """Return the TLS context for the provider: the system's authorities, or those of SSL_CERT_FILE.

    It is the one variable of the environment that the provider's client reads.
    """
    return httpx2.create_ssl_context()
