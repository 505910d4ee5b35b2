"""Keys, certificate, and the forms of requests and answers: what the provider must agree to. Pure.

Each finding names what will be used; a warning says that the provider does not list it, which some
providers forget although they support it. See docs/clients.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from bff.doctor.findings import Finding, Grade
from bff.oidc.jarm import JWT_MODES
from bff.oidc.json import is_array
from bff.oidc.metadata import Metadata
from bff.oidc.provider import Provider

EXPIRES_SOON = datetime.timedelta(days=30)


def agreement_findings(
    provider: Provider, metadata: Metadata, document: Mapping[str, Any], now: float
) -> list[Finding]:
    """Say how requests and answers will be protected; `now` in seconds since the epoch."""
    return [
        *signing_findings(provider, metadata, document),
        request_finding(provider, metadata),
        response_finding(provider, document),
        *encryption_findings(provider, document),
        *certificate_findings(provider, document, now),
    ]


def signing_findings(
    provider: Provider, metadata: Metadata, document: Mapping[str, Any]
) -> list[Finding]:
    """Say which key signs, and whether the provider takes its algorithm."""
    signer = provider.keys.signer
    if signer is None:
        return []
    text = f"{signer.key.kid} signs with {signer.alg}; {len(provider.keys.signing)} published"
    listed = document.get("token_endpoint_auth_signing_alg_values_supported")
    by_key = provider.client_auth_method(metadata) == "private_key_jwt"
    if by_key and is_array(listed) and signer.alg not in listed:
        advice = f"the provider lists {', '.join(map(str, listed))}: `bff keys --alg` makes others"
        return [Finding(Grade.WARNING, "our keys", text, advice)]
    findings = [Finding(Grade.GOOD, "our keys", text)]
    if len(provider.keys.signing) == 1:
        advice = "publish the next key before you need it: `bff keys FILE --rotate`"
        findings = [Finding(Grade.NOTE, "our keys", text, advice)]
    return findings


def request_finding(provider: Provider, metadata: Metadata) -> Finding:
    """Say in which form authorization requests go out."""
    wanted = provider.registration.request_object
    wanted = metadata.demands_request_object if wanted is None else wanted
    pushed = metadata.pushed_authorization_request_endpoint is not None
    if wanted and provider.keys.signer is None:
        advice = "make a key with `bff keys`, register it, and set BFF_CLIENT_KEY_FILE"
        return Finding(Grade.FAULT, "requests", "the provider wants them signed", advice)
    if metadata.demands_request_object and not wanted:
        advice = "take BFF_REQUEST_OBJECT=false away"
        return Finding(Grade.FAULT, "requests", "the provider wants them signed", advice)
    form = "signed" if wanted else "not signed"
    return Finding(Grade.GOOD, "requests", f"{form}, {'pushed' if pushed else 'in the address'}")


def response_finding(provider: Provider, document: Mapping[str, Any]) -> Finding:
    """Say in which form the provider's answer comes back."""
    mode = provider.registration.response_mode
    text = f"response_mode {mode}"
    if mode in JWT_MODES:
        text += f", signed with {provider.registration.policy.alg}"
    listed = document.get("response_modes_supported")
    if is_array(listed) and mode not in listed:
        advice = "set BFF_RESPONSE_MODE to one of its list"
        return Finding(Grade.WARNING, "answers", f"{text}, which is not listed", advice)
    return Finding(Grade.GOOD, "answers", text)


def encryption_findings(provider: Provider, document: Mapping[str, Any]) -> list[Finding]:
    """Say what may come encrypted, where there is a key for it."""
    if not provider.keys.decryption:
        return []
    algs = provider.keys.decryption[0].algs
    must = "must" if provider.registration.encryption_required else "may"
    text = f"ID tokens {must} be encrypted with {', '.join(sorted(algs))}"
    listed = document.get("id_token_encryption_alg_values_supported")
    if not is_array(listed) or not algs & {name for name in listed if isinstance(name, str)}:
        advice = "register no encryption, or make a key for an algorithm that the provider lists"
        return [Finding(Grade.WARNING, "encryption", f"{text}, which is not listed", advice)]
    return [Finding(Grade.GOOD, "encryption", text)]


def certificate_findings(
    provider: Provider, document: Mapping[str, Any], now: float
) -> list[Finding]:
    """Say until when our certificate is good, and where it is shown."""
    certificate = provider.registration.certificate
    if certificate is None:
        return []
    until = certificate.expires_at()
    where = "at the provider's aliases" if document.get("mtls_endpoint_aliases") else "everywhere"
    text = f"good until {until:%Y-%m-%d}, shown {where}"
    left = until - datetime.datetime.fromtimestamp(now, datetime.UTC)
    if left <= datetime.timedelta():
        return [Finding(Grade.FAULT, "certificate", f"expired on {until:%Y-%m-%d}", "renew it")]
    if left < EXPIRES_SOON:
        return [Finding(Grade.WARNING, "certificate", text, "renew it soon")]
    return [Finding(Grade.GOOD, "certificate", text)]
