"""What is set for one provider's peculiarities: tenants, claims, sign-out, no ID token. Pure.

See docs/providers.md.
"""

from __future__ import annotations

from bff.doctor.findings import Finding, Grade
from bff.issuers import ANY_TENANT, several_tenants
from bff.oidc.registration import Registration

GOOGLE = "https://accounts.google.com"


def peculiar_findings(registration: Registration) -> list[Finding]:
    """Say what is used of the settings that few providers need; nothing where there are none."""
    return [
        *_identity(registration),
        *_tenants(registration),
        *_required(registration),
        *_sign_out(registration),
        *_offline(registration),
    ]


def _identity(registration: Registration) -> list[Finding]:
    plain = registration.oauth2_without_id_token
    if plain is None:
        return []
    text = f"{plain.subject} of {plain.userinfo_endpoint}, without an ID token"
    advice = "nothing signed says who signed in: prefer OpenID Connect where the provider has it"
    return [Finding(Grade.WARNING, "identity", text, advice)]


def _tenants(registration: Registration) -> list[Finding]:
    tenants = registration.policy.tenants
    if not several_tenants(registration.issuer):
        return []
    if ANY_TENANT in tenants:
        advice = "name the tenants in BFF_TENANTS, unless your application decides who may do what"
        return [Finding(Grade.WARNING, "tenants", "any: whoever has an account there", advice)]
    return [Finding(Grade.GOOD, "tenants", ", ".join(sorted(tenants)))]


def _required(registration: Registration) -> list[Finding]:
    names = sorted(registration.policy.required_claims)
    return [Finding(Grade.GOOD, "required claims", ", ".join(names))] if names else []


def _sign_out(registration: Registration) -> list[Finding]:
    endpoint, params = registration.end_session_endpoint, registration.logout_params
    if endpoint is None and params is None:
        return []
    where = endpoint or "the provider's own address"
    text = where if params is None else f"{where}, with {', '.join(params) or 'no parameters'}"
    return [Finding(Grade.NOTE, "sign-out as set", text)]


def _offline(registration: Registration) -> list[Finding]:
    asked = registration.authorize_params.get("access_type")
    if registration.issuer != GOOGLE or asked == "offline":
        return []
    text = "Google gives a refresh token only for access_type=offline"
    advice = 'set BFF_AUTHORIZE_PARAMS={"access_type": "offline", "prompt": "consent"} for one'
    return [Finding(Grade.NOTE, "refresh token", text, advice)]
