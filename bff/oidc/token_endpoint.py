"""The calls to the provider that carry our client authentication, and the userinfo call.

Each raises ProviderUnavailableError where there is no usable answer; what a refusal means is in
`bff.oidc.grants`. With a `key` the tokens are bound to it, and every request carries a proof of it;
where the provider demands a nonce of its own, a request is sent once more, with a fresh proof and a
fresh client assertion (RFC 9449 5 and 8).
"""

from __future__ import annotations

import hmac
from typing import Any

from bff.errors import ProviderUnavailableError
from bff.oidc.authorization import repeated
from bff.oidc.connections import Answer
from bff.oidc.dpop import ProofKey, Prover
from bff.oidc.grants import (
    BUSY,
    KNOWN_ERRORS,
    Grant,
    RefusedError,
    demands_nonce,
    judge_answer,
    plain_grant,
)
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import BadTokenError
from bff.oidc.provider import Provider
from bff.oidc.token_target import TokenTarget

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ISSUED_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
EXCHANGED = frozenset({ISSUED_ACCESS, "urn:ietf:params:oauth:token-type:jwt"})
PUSH_ERRORS = KNOWN_ERRORS | {"invalid_redirect_uri", "invalid_request_object"}


async def exchange(
    provider: Provider,
    code: str,
    code_verifier: str,
    redirect_uri: str,
    key: ProofKey | None = None,
) -> Grant:
    """Redeem an authorization code (RFC 6749 4.1.3, RFC 7636 4.5)."""
    return await _grant(
        provider,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        },
        key,
    )


async def refresh(
    provider: Provider,
    refresh_token: str,
    resource: str | None = None,
    key: ProofKey | None = None,
) -> Grant:
    """Redeem a refresh token (RFC 6749 6). The scope stays as it was granted.

    With `resource` the access token is for that one alone (RFC 8707 2.2).
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if resource is not None:
        form["resource"] = resource
    return await _grant(provider, form, key)


async def exchange_token(
    provider: Provider, access_token: str, target: TokenTarget, key: ProofKey | None = None
) -> Grant:
    """Exchange the session's access token for one for another target (RFC 8693 2).

    Raises RefusedError also for an answer with a token of another kind than an access token.
    """
    asked = {"audience": target.audience, "resource": target.resource, "scope": target.scope}
    grant = await _grant(
        provider,
        {
            "grant_type": EXCHANGE,
            "subject_token": access_token,
            "subject_token_type": ISSUED_ACCESS,
            "requested_token_type": ISSUED_ACCESS,
            **{name: value for name, value in asked.items() if value is not None},
        },
        key,
    )
    if grant.issued_token_type not in EXCHANGED:
        raise RefusedError("issued_token_type")
    return grant


async def client_credentials(provider: Provider, scope: str, key: ProofKey | None = None) -> Grant:
    """Get a token for the service itself (RFC 6749 4.4)."""
    form = {"grant_type": "client_credentials"}
    if scope:
        form["scope"] = scope
    return await _grant(provider, form, key)


async def push(provider: Provider, endpoint: str, parameters: dict[str, str]) -> str:
    """Push an authorization request; return its `request_uri` (RFC 9126 2)."""
    metadata = await provider.metadata()
    method = provider.client_auth_method(metadata)
    response = await provider.client.post(endpoint, repeated(parameters), method)
    provider.nonces.note(endpoint, response.headers.get("dpop-nonce"))
    if response.status_code >= 500 or response.status_code in BUSY:  # noqa: PLR2004
        raise ProviderUnavailableError(f"par_{response.status_code}")
    try:
        answer = parse_object(response.content)
    except BadJsonError:
        answer = {}
    error, request_uri = answer.get("error"), answer.get("request_uri")
    if isinstance(error, str) and error in PUSH_ERRORS:
        raise ProviderUnavailableError(f"par_{error}")
    if (
        response.status_code not in {200, 201}
        or not isinstance(request_uri, str)
        or not request_uri
    ):
        raise ProviderUnavailableError("par_refused")
    return request_uri


async def revoke(provider: Provider, token: str, hint: str) -> None:
    """Revoke a token (RFC 7009 2.1). Raises RefusedError where trying again would not help."""
    metadata = await provider.metadata()
    if metadata.revocation_endpoint is None:
        return
    response = await provider.client.post(
        metadata.revocation_endpoint,
        {"token": token, "token_type_hint": hint},
        provider.client_auth_method(metadata),
    )
    if response.status_code >= 500 or response.status_code in BUSY:  # noqa: PLR2004
        raise ProviderUnavailableError(f"revocation_{response.status_code}")
    if response.status_code != 200:  # noqa: PLR2004
        raise RefusedError(f"revocation_{response.status_code}")


async def userinfo(
    provider: Provider, endpoint: str, access_token: str, sub: str, key: ProofKey | None = None
) -> dict[str, Any]:
    """Return the claims of the userinfo answer (OIDC Core 5.3); its `sub` must be `sub`.

    Raises BadTokenError where the answer is not about this user, or says nothing.
    """
    response = await _ask_userinfo(provider, endpoint, access_token, key)
    if response.status_code >= 500 or response.status_code in BUSY:  # noqa: PLR2004
        raise ProviderUnavailableError(f"userinfo_{response.status_code}")
    if response.status_code != 200:  # noqa: PLR2004
        raise BadTokenError(f"userinfo_{response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    claims: dict[str, Any]
    if kind == "application/jwt":
        # A JWT is ASCII. The charset that the answer names could be any of Python's codecs.
        verified = await provider.verified(response.content.decode("latin-1"), plain=True)
        claims = dict(verified.claims)
        registration = provider.registration
        if claims.get("iss") != provider.issuer:
            raise BadTokenError("userinfo_iss")
        if claims.get("aud") not in (registration.client_id, [registration.client_id]):
            raise BadTokenError("userinfo_aud")
    else:
        try:
            claims = parse_object(response.content)
        except BadJsonError:
            raise BadTokenError("userinfo_not_json") from None
    found = claims.get("sub")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), sub.encode()):
        raise BadTokenError("userinfo_sub")
    return claims


async def _ask_userinfo(
    provider: Provider, endpoint: str, access_token: str, key: ProofKey | None
) -> Answer:
    if key is None:
        return await provider.client.ask(endpoint, {"Authorization": f"Bearer {access_token}"})
    prover = Prover(key, provider.resource_nonces, "GET", access_token)
    while True:
        fields = {"Authorization": f"DPoP {access_token}", "DPoP": prover.proof(endpoint)}
        response = await provider.client.ask(endpoint, fields)
        refused = response.status_code == 401  # noqa: PLR2004
        if not prover.heard(response.headers.get("dpop-nonce"), demanded=refused):
            return response


async def _post_proven(
    provider: Provider, endpoint: str, form: dict[str, str], method: str, key: ProofKey
) -> Answer:
    prover = Prover(key, provider.nonces, "POST")
    while True:
        proof = {"DPoP": prover.proof(endpoint)}
        response = await provider.client.post(endpoint, form, method, proof)
        demanded = demands_nonce(response.status_code, response.content)
        if not prover.heard(response.headers.get("dpop-nonce"), demanded=demanded):
            return response


async def _grant(provider: Provider, form: dict[str, str], key: ProofKey | None) -> Grant:
    metadata = await provider.metadata()
    method = provider.client_auth_method(metadata)
    if key is None:
        response = await provider.client.post(metadata.token_endpoint, form, method)
    else:
        response = await _post_proven(provider, metadata.token_endpoint, form, method, key)
    grant = judge_answer(response.status_code, response.content, bound=key is not None)
    return grant if provider.registration.oauth2_without_id_token is None else plain_grant(grant)
