"""Client authentication, tried for real, without anybody signing in.

Where the provider takes pushed requests, one is pushed: it authenticates us, and judges redirect
URI and scopes as well. Elsewhere a code that nobody issued is redeemed: `invalid_grant` says that
we were believed and the code was not; `invalid_client` says the opposite.

Source: RFC 9126 section 2.3, RFC 6749 section 5.2.
"""

from __future__ import annotations

import secrets
from typing import Any

from bff.doctor.findings import Finding, Grade
from bff.errors import ProviderUnavailableError
from bff.oidc.authorization import Options, Secrets, authorization_parameters, repeated
from bff.oidc.connections import Answer
from bff.oidc.grants import KNOWN_ERRORS, SAME_ERROR
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.metadata import Metadata
from bff.oidc.provider import Provider

SUBJECT = "authentication"
NOBODYS_CODE = "a-code-that-nobody-issued"
NOT_US = frozenset({"invalid_client", "unauthorized_client"})
PUSHED_ERRORS = KNOWN_ERRORS | {"invalid_redirect_uri"}


async def try_client(provider: Provider, metadata: Metadata, redirect_uri: str) -> Finding:
    """Return what the provider says to our client authentication."""
    method = provider.client_auth_method(metadata)
    if method == "none":
        return Finding(Grade.NOTE, SUBJECT, "a public client: there is nothing to prove")
    endpoint = metadata.pushed_authorization_request_endpoint
    if endpoint is not None and provider.request_signer(metadata) is None:
        form = _request(provider, redirect_uri)
        judge = judge_push
    else:
        endpoint = metadata.token_endpoint
        form = _redemption(redirect_uri)
        judge = judge_redemption
    try:
        response = await provider.client.post(endpoint, form, method)
    except ProviderUnavailableError as error:
        text = f"{method} could not be tried ({error.reason})"
        return Finding(Grade.WARNING, SUBJECT, text, "try again when the provider answers")
    return judge(method, response.status_code, _error(response))


def judge_push(method: str, status: int, error: str | None) -> Finding:
    """Judge the answer to a pushed request. Pure."""
    if status in {200, 201}:
        text = f"{method} is accepted, and so are redirect URI and scopes (tried by PAR)"
        return Finding(Grade.GOOD, SUBJECT, text)
    if error in {"invalid_redirect_uri", "invalid_scope"}:
        what = "redirect URI" if error == "invalid_redirect_uri" else "scopes"
        text = f"{method} is accepted, but the {what} are not ({error})"
        return Finding(Grade.FAULT, SUBJECT, text, f"register the {what} at the provider")
    return _not_us(method, status, error) or _unclear(method, status, error)


def judge_redemption(method: str, status: int, error: str | None) -> Finding:
    """Judge the answer to a code that nobody issued. Pure."""
    if error == "invalid_grant":
        text = f"{method} is accepted (tried with a code that nobody issued)"
        return Finding(Grade.GOOD, SUBJECT, text)
    return _not_us(method, status, error) or _unclear(method, status, error)


def _not_us(method: str, status: int, error: str | None) -> Finding | None:
    if error not in NOT_US and not (status == 401 and error is None):  # noqa: PLR2004
        return None
    advice = "check BFF_CLIENT_ID, the secret or key, and the method registered at the provider"
    return Finding(Grade.FAULT, SUBJECT, f"{method} is refused ({error or status})", advice)


def _unclear(method: str, status: int, error: str | None) -> Finding:
    text = f"{method} was tried; the answer says neither yes nor no ({error or status})"
    return Finding(Grade.WARNING, SUBJECT, text, "a sign-in will tell; the provider's log may too")


def _request(provider: Provider, redirect_uri: str) -> dict[str, str | list[str]]:
    registration = provider.registration
    return repeated(
        authorization_parameters(
            client_id=registration.client_id,
            redirect_uri=redirect_uri,
            scopes=registration.scopes,
            secrets=Secrets.draw(secrets.token_bytes),
            options=Options(),
            response_mode=registration.response_mode,
            extra=registration.authorize_params,
        )
    )


def _redemption(redirect_uri: str) -> dict[str, str | list[str]]:
    return {
        "grant_type": "authorization_code",
        "code": NOBODYS_CODE,
        "redirect_uri": redirect_uri,
        "code_verifier": secrets.token_urlsafe(32),
    }


def _error(response: Answer) -> str | None:
    try:
        answer: dict[str, Any] = parse_object(response.content)
    except BadJsonError:
        return None
    error = answer.get("error")
    if not isinstance(error, str):
        return None if error is None else "another error"
    error = SAME_ERROR.get(error, error)
    return error if error in PUSHED_ERRORS else "another error"
