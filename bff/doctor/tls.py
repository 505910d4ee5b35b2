"""The provider's certificate: which protocol, and for how long it is still good."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import cast
from urllib.parse import urlsplit

from bff.doctor.findings import Finding, Grade
from bff.oidc.mtls import tls_context

PATIENCE = 5.0
SOON = 14
DAY = 86_400


async def examine_tls(url: str) -> Finding:
    """Shake hands with the host of a URL, as the service does."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return Finding(Grade.NOTE, "TLS", "none: plain http, which loopback alone may have")
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=tls_context(), server_hostname=parts.hostname
            )
    except (OSError, TimeoutError) as error:
        kind = getattr(error, "verify_message", "") or type(error).__name__
        advice = "for an authority of your own, name its certificate in SSL_CERT_FILE"
        return Finding(Grade.FAULT, "TLS", f"fails: {kind}", advice)
    tls = cast("ssl.SSLObject", writer.get_extra_info("ssl_object"))
    version, certificate = tls.version(), tls.getpeercert() or {}
    writer.close()
    return judge_tls(str(version), str(certificate.get("notAfter", "")), time.time())


def judge_tls(version: str, not_after: str, now: float) -> Finding:
    """Judge what the handshake brought; `not_after` is as OpenSSL writes times. Pure."""
    days = int((ssl.cert_time_to_seconds(not_after) - now) // DAY)
    text = f"{version}; the certificate is good for {days} days"
    if days < SOON:
        return Finding(Grade.WARNING, "TLS", text, "tell whoever runs the provider")
    return Finding(Grade.GOOD, "TLS", text)
