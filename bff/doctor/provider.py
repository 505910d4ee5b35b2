"""One provider, asked as the service asks it: what it offers, and what will be used of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from bff.doctor.agreement import agreement_findings
from bff.doctor.findings import Finding, Grade
from bff.doctor.peculiar import peculiar_findings
from bff.doctor.tls import examine_tls
from bff.doctor.trial import try_client
from bff.errors import ProviderUnavailableError
from bff.issuers import TENANT
from bff.oidc.dpop import ALG
from bff.oidc.json import BadJsonError, is_array, parse_object
from bff.oidc.keys import KEY_TYPE, import_keys
from bff.oidc.metadata import BadMetadataError, Metadata, discovery_url
from bff.oidc.provider import Provider
from bff.oidc.registration import Registration

LARGEST_CLOCK_DIFFERENCE = 5
SHOWN = 200


async def examine_provider(registration: Registration, redirect_uri: str) -> list[Finding]:
    """Fetch metadata and keys, judge them, and try our client authentication."""
    provider = Provider(registration)
    try:
        return await _examine(provider, redirect_uri)
    finally:
        await provider.client.aclose()


async def _examine(provider: Provider, redirect_uri: str) -> list[Finding]:
    issuer = provider.issuer
    if provider.registration.oauth2_without_id_token is not None:
        metadata = await provider.metadata()
        return [
            await examine_tls(metadata.token_endpoint),
            await try_client(provider, metadata, redirect_uri),
            *peculiar_findings(provider.registration),
        ]
    tls = await examine_tls(discovery_url(issuer))
    if tls.grade is Grade.FAULT:
        return [tls]
    document: dict[str, Any] = {}
    try:
        response = await provider.client.get(discovery_url(issuer))
        document = parse_object(response.content)
        metadata = provider.judged(document)
    except ProviderUnavailableError as error:
        advice = f"is {issuer} right, and reachable from here?"
        return [Finding(Grade.FAULT, "discovery", f"cannot be reached ({error.reason})", advice)]
    except BadMetadataError as error:
        return [tls, unusable(error.reason, document)]
    except BadJsonError:
        advice = "is BFF_ISSUER the issuer, and not some other page?"
        return [Finding(Grade.FAULT, "discovery", "the answer is not JSON", advice)]
    return [
        Finding(Grade.GOOD, "discovery", f"found {metadata.issuer}"),
        tls,
        clock_finding(response.headers.get("date"), time.time()),
        await key_finding(provider, metadata),
        *client_findings(provider, metadata),
        await try_client(provider, metadata, redirect_uri),
        *agreement_findings(provider, metadata, document, time.time()),
        *feature_findings(provider.registration, metadata, document),
        *peculiar_findings(provider.registration),
    ]


def unusable(reason: str, document: Mapping[str, Any]) -> Finding:
    """Say why a discovery document cannot be used; for a wrong issuer, what it should have been."""
    advice = "the provider's document must be mended"
    if reason == "issuer_mismatch":
        named = repr(document.get("issuer"))[:SHOWN]
        advice = f"the document names {named}: BFF_ISSUER must be that, to the letter"
        if TENANT in named:
            advice = "for several tenants BFF_ISSUER ends with /organizations/v2.0 or /common/v2.0"
    return Finding(Grade.FAULT, "discovery", f"the document cannot be used ({reason})", advice)


async def key_finding(provider: Provider, metadata: Metadata) -> Finding:
    """Say whether the provider has a key for BFF_ID_TOKEN_ALG."""
    alg = provider.registration.policy.alg
    if alg == "HS256":
        return Finding(Grade.GOOD, "keys", "ID tokens are checked with HS256 and the secret")
    try:
        answer = await provider.client.get(metadata.jwks_uri)
        usable, skipped = import_keys(parse_object(answer.content))
    except (ProviderUnavailableError, BadJsonError):
        advice = "without them no ID token can be checked"
        return Finding(Grade.FAULT, "keys", f"{metadata.jwks_uri} cannot be read", advice)
    fitting = sum(key.kty == KEY_TYPE[alg][0] for key in usable)
    if fitting:
        text = f"{fitting} for {alg}" + (f", {skipped} of no use to us" if skipped else "")
        return Finding(Grade.GOOD, "keys", text)
    advice = "set BFF_ID_TOKEN_ALG to what it signs with"
    return Finding(Grade.FAULT, "keys", f"the provider has no key for {alg}", advice)


def clock_finding(date: str | None, now: float) -> Finding:
    """Compare our clock with the provider's, to the second that HTTP dates have. Pure."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Finding(Grade.NOTE, "clock", "the provider does not tell its time")
    difference = now - theirs
    if abs(difference) > LARGEST_CLOCK_DIFFERENCE:
        text = (
            f"{abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} the provider's"
        )
        return Finding(Grade.WARNING, "clock", text, "set it by NTP")
    return Finding(Grade.GOOD, "clock", "agrees with the provider's")


def client_findings(provider: Provider, metadata: Metadata) -> list[Finding]:
    """Say who we are to the provider, and what is asked for. Pure."""
    registration = provider.registration
    method = provider.client_auth_method(metadata)
    text = f"{registration.client_id}, by {method}"
    findings = [Finding(Grade.GOOD, "client", text)]
    if method not in metadata.token_endpoint_auth_methods and method != "none":
        advice = "register the client with a method of its list, or set BFF_CLIENT_AUTH"
        text = f"{text}, which the provider does not list"
        findings = [Finding(Grade.WARNING, "client", text, advice)]
    return findings


def feature_findings(
    registration: Registration, metadata: Metadata, document: Mapping[str, Any]
) -> list[Finding]:
    """Say what the provider supports, and which of it will be used. Pure."""
    findings = [
        Finding(Grade.GOOD, "PKCE", "S256 will be used")
        if "S256" in names_in(document, "code_challenge_methods_supported")
        else Finding(Grade.NOTE, "PKCE", "not listed; S256 is sent all the same"),
        used("pushed requests", metadata.pushed_authorization_request_endpoint),
        used("issuer in answers", metadata.promises_iss),
        used("userinfo", metadata.userinfo_endpoint and registration.fetch_userinfo is not False),
        used("revocation", metadata.revocation_endpoint),
        used("sign-out there", metadata.end_session_endpoint),
        used("back-channel logout", document.get("backchannel_logout_supported") is True),
        dpop_finding(document, wanted=registration.dpop),
    ]
    scopes = names_in(document, "scopes_supported")
    if "offline_access" in scopes and "offline_access" not in registration.scopes:
        text = "offline_access is offered and not asked for: perhaps there is no refresh token"
        findings.append(Finding(Grade.WARNING, "scopes", text, "add it to BFF_SCOPES if so"))
    else:
        findings.append(Finding(Grade.GOOD, "scopes", " ".join(registration.scopes)))
    if metadata.ignored:
        text = f"left out, since no such address can be used: {', '.join(metadata.ignored)}"
        findings.append(Finding(Grade.WARNING, "endpoints", text))
    return findings


def dpop_finding(document: Mapping[str, Any], *, wanted: bool) -> Finding:
    """Say whether tokens will be bound to a key (RFC 9449 5.1). Pure."""
    listed = document.get("dpop_signing_alg_values_supported") is not None
    fits = ALG in names_in(document, "dpop_signing_alg_values_supported")
    if not wanted:
        text = "offered, and not used" if fits else "not used, and not offered"
        return Finding(Grade.NOTE, "DPoP", text, "BFF_DPOP=true if APIs know it" if fits else "")
    if fits:
        return Finding(Grade.GOOD, "DPoP", f"will be used, with {ALG}")
    if listed:
        text = f"the provider takes no proofs by {ALG}, and we make no others"
        return Finding(Grade.FAULT, "DPoP", text, "unset BFF_DPOP")
    text = "not listed: where the provider ignores it, no sign-in succeeds"
    return Finding(Grade.WARNING, "DPoP", text, "unset BFF_DPOP if sign-ins fail: token_not_bound")


def used(name: str, offered: object) -> Finding:
    """Say that something will be used, or that it is not offered."""
    if offered:
        return Finding(Grade.GOOD, name, "will be used")
    return Finding(Grade.NOTE, name, "not used: not offered, or switched off")


def names_in(document: Mapping[str, Any], member: str) -> Sequence[str]:
    """Return the strings of a member that should be a list of them."""
    value = document.get(member)
    return [name for name in value if isinstance(name, str)] if is_array(value) else ()
