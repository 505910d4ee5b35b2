"""Judges an authorization request; pure.

The order matters. Repeated parameters, the client and the redirect URI come first, and their
faults are shown on a page: an error is never sent to an address that is not registered. What
follows is told to the client at its redirect URI.

Sources: RFC 6749 section 4.1, RFC 7636, RFC 8707, RFC 9207, OpenID Connect Core 3.1.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bff.demo.provider.errors import PageError

if TYPE_CHECKING:
    from bff.demo.provider.config import Client, ProviderConfig
    from bff.demo.provider.parameters import Parameters
    from bff.demo.provider.sso import SsoSession

RESPONSE_MODES = ("query", "form_post", "jwt", "query.jwt", "form_post.jwt")
PROMPTS = ("none", "login", "consent", "select_account")
# In rising order: a session of the second level satisfies a request for the first.
ACRS = ("urn:demo:acr:basic", "urn:demo:acr:strong")
MAX_LENGTH = 4096
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """Where the answer goes: a redirect URI that has been found registered."""

    client_id: str
    redirect_uri: str
    response_mode: str
    state: str | None
    issuer: str

    def parameters(self, **answer: str | None) -> dict[str, str]:
        """Complete an answer by `state` and `iss`."""
        whole = answer | {"state": self.state, "iss": self.issuer}
        return {name: value for name, value in whole.items() if value is not None}

    def url(self, parameters: dict[str, str]) -> str:
        """Return the redirect URI with `parameters` added to its query."""
        separator = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{separator}{urlencode(parameters)}"


class AuthorizationError(Exception):
    """An error for the client, sent to its redirect URI."""

    def __init__(self, target: ResponseTarget, error: str, description: str) -> None:
        super().__init__(error)
        self.target = target
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that has been found valid."""

    client: Client
    target: ResponseTarget
    scopes: tuple[str, ...]
    nonce: str | None
    code_challenge: str
    prompts: frozenset[str]
    max_age: int | None
    login_hint: str | None
    acr: str | None
    id_token_hint: str | None


def check_request(parameters: Parameters, config: ProviderConfig) -> AuthorizationRequest:
    """Judge the parameters. Raises PageError, then AuthorizationError."""
    client, target = _check_target(parameters, config)
    _check_supported(parameters, target)
    if not all(map(config.knows, parameters.resources)):
        raise AuthorizationError(target, "invalid_target", "a resource is not known here")
    if parameters.get("response_type") is None:
        raise AuthorizationError(target, "invalid_request", "response_type is missing")
    if parameters.get("response_type") != "code":
        raise AuthorizationError(target, "unsupported_response_type", "only code is supported")
    scopes = tuple(dict.fromkeys((parameters.get("scope") or "").split()))
    if "openid" not in scopes:
        raise AuthorizationError(target, "invalid_scope", "openid is missing")
    return AuthorizationRequest(
        client=client,
        target=target,
        scopes=scopes,
        nonce=parameters.get("nonce"),
        code_challenge=_check_pkce(parameters, target),
        prompts=_check_prompt(parameters, target),
        max_age=_check_max_age(parameters, target),
        login_hint=parameters.get("login_hint"),
        acr=next(
            (acr for acr in (parameters.get("acr_values") or "").split() if acr in ACRS), None
        ),
        id_token_hint=parameters.get("id_token_hint"),
    )


def _check_target(parameters: Parameters, config: ProviderConfig) -> tuple[Client, ResponseTarget]:
    for name in ("client_id", "redirect_uri"):
        if name in parameters.repeated:
            raise PageError("Request refused", f"The parameter {name} was sent more than once.")
    client = config.client(parameters.get("client_id"))
    if client is None:
        raise PageError("Unknown application", "No application is registered under this client_id.")
    redirect_uri = parameters.get("redirect_uri")
    if redirect_uri not in client.redirect_uris:
        raise PageError(
            "Address not registered",
            "The redirect_uri is missing or is not registered for this application, so you are not"
            " sent there.",
        )
    mode = parameters.get("response_mode") or "query"
    known = mode in RESPONSE_MODES
    state = parameters.get("state")
    if state is not None and len(state) > MAX_LENGTH:
        state = None
    answered_by = mode if known else "query"
    target = ResponseTarget(client.client_id, redirect_uri, answered_by, state, config.issuer)
    if not known:
        raise AuthorizationError(target, "invalid_request", "response_mode is not supported")
    return client, target


def _check_supported(parameters: Parameters, target: ResponseTarget) -> None:
    if parameters.repeated:
        raise AuthorizationError(target, "invalid_request", "a parameter was sent more than once")
    if any(len(value) > MAX_LENGTH for value in parameters.values.values()):
        raise AuthorizationError(target, "invalid_request", "a parameter is too long")
    for name in ("request", "request_uri", "registration"):
        if parameters.get(name) is not None:
            raise AuthorizationError(target, f"{name}_not_supported", f"{name} is not supported")


def _check_pkce(parameters: Parameters, target: ResponseTarget) -> str:
    challenge = parameters.get("code_challenge")
    if challenge is None or parameters.get("code_challenge_method") != "S256":
        raise AuthorizationError(target, "invalid_request", "PKCE with S256 is required")
    if not CHALLENGE.fullmatch(challenge):
        raise AuthorizationError(target, "invalid_request", "code_challenge is malformed")
    return challenge


def _check_prompt(parameters: Parameters, target: ResponseTarget) -> frozenset[str]:
    prompts = frozenset((parameters.get("prompt") or "").split())
    if not prompts <= set(PROMPTS):
        raise AuthorizationError(target, "invalid_request", "prompt is not supported")
    if "none" in prompts and len(prompts) > 1:
        raise AuthorizationError(target, "invalid_request", "prompt=none stands alone")
    return prompts


def _check_max_age(parameters: Parameters, target: ResponseTarget) -> int | None:
    max_age = parameters.get("max_age")
    if max_age is None:
        return None
    if not (max_age.isascii() and max_age.isdigit() and len(max_age) <= 10):
        raise AuthorizationError(target, "invalid_request", "max_age is not a number of seconds")
    return int(max_age)


def must_sign_in(
    request: AuthorizationRequest, session: SsoSession | None, hinted_sub: str | None, now: int
) -> bool:
    """Say whether the user has to be asked, in the order of OpenID Connect Core 3.1.2.3.

    `hinted_sub` is the user of a valid `id_token_hint`.
    """
    if session is None or request.prompts - {"none"}:
        return True
    if hinted_sub is not None and hinted_sub != session.sub:
        return True
    if request.max_age is not None and now - session.auth_time >= request.max_age:
        return True
    return request.acr is not None and ACRS.index(session.acr) < ACRS.index(request.acr)
