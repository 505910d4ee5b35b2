"""The authorization request, and the judgement of its answer. Pure; randomness is passed in.

Request: RFC 6749 4.1.1, OIDC Core 3.1.2.1, PKCE S256 (RFC 7636), `state`, `nonce`. Answer, in this
order: no parameter twice; `iss` (RFC 9207); `state`; then only `error` or `code`. Whoever calls
must have found the login by `state` and browser before the answer's `error` or `code` is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from authlib.oauth2 import rfc7636

from bff.base64url import base64url
from bff.oidc.claims_request import BadClaimsError, ClaimsRequest, parse_claims
from bff.oidc.form import form_encoded

MAX_PARAMETER = 8192
PROMPTS = frozenset({"none", "login", "consent", "select_account", "create"})
REPEATED = frozenset({"resource"})
SINGLE = frozenset({"code", "state", "iss", "error", "error_description", "response"})
MAX_HINT = 512
MAX_MAX_AGE = 31_536_000
KNOWN_ERRORS = frozenset(
    {"access_denied", "account_selection_required", "consent_required", "interaction_required",
     "invalid_request", "invalid_scope", "invalid_target", "login_required", "server_error",
     "temporarily_unavailable", "unauthorized_client", "unmet_authentication_requirements",
     "unsupported_response_type"}
)  # fmt: skip


class BadResponseError(Exception):
    """An authorization response that is not followed; `reason` is a stable word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadOptionError(ValueError):
    """An option of `/bff/login` has a value that we do not pass on; the argument names it."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The three values of one authorization request: 43 characters of base64url, 256 bits each."""

    state: str
    nonce: str
    code_verifier: str

    @classmethod
    def draw(cls, randomness: Callable[[int], bytes]) -> Secrets:
        """Return three new values."""
        return cls(*(token(randomness(32)) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Options:
    """What the page may ask of a sign-in (OIDC Core 3.1.2.1, 5.5).

    What is asked by `acr_values`, `max_age` and essential `claims` must come back in the ID token.
    A `silent` one is made in a hidden frame or a popup: without the user, so with `prompt=none`,
    and its outcome is told to the page that opened it.
    """

    prompt: str | None = None
    login_hint: str | None = None
    acr_values: str | None = None
    max_age: int | None = None
    ui_locales: str | None = None
    claims: ClaimsRequest | None = None
    silent: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Options:
        """Read the options from a query. Raises BadOptionError for one that makes no sense."""
        if OPTIONS.isdisjoint(query):
            return cls()
        prompt = query.get("prompt") or None
        if prompt is not None:
            values = prompt.split(" ")
            if not set(values) <= PROMPTS or ("none" in values and len(values) > 1):
                raise BadOptionError("prompt")
        texts = {
            name: query.get(name) or None for name in ("login_hint", "acr_values", "ui_locales")
        }
        for name, text in texts.items():
            if text is not None and (len(text) > MAX_HINT or not text.isprintable()):
                raise BadOptionError(name)
        max_age = query.get("max_age") or None
        if max_age is not None and not re.fullmatch(r"[0-9]{1,9}", max_age):
            raise BadOptionError("max_age")
        seconds = None if max_age is None else int(max_age)
        if seconds is not None and seconds > MAX_MAX_AGE:
            raise BadOptionError("max_age")
        if query.get("silent", "") not in {"", "true", "false"}:
            raise BadOptionError("silent")
        silent = query.get("silent") == "true"
        if silent:
            if prompt not in {None, "none"}:
                raise BadOptionError("prompt")
            prompt = "none"
        if prompt == "none" and seconds == 0:
            raise BadOptionError("max_age")
        claims = _claims(query.get("claims") or None)
        # Core 5.5.1.1: what a provider does with both is not specified.
        if claims is not None and claims.acr_values and texts["acr_values"]:
            raise BadOptionError("claims")
        return cls(
            prompt, texts["login_hint"], texts["acr_values"], seconds, texts["ui_locales"], claims,
            silent,
        )  # fmt: skip


OPTIONS = frozenset(one.name for one in fields(Options))


def _claims(text: str | None) -> ClaimsRequest | None:
    try:
        return None if text is None else parse_claims(text)
    except BadClaimsError:
        raise BadOptionError("claims") from None


@dataclass(frozen=True, slots=True)
class Granted:
    """An authorization response that may be redeemed."""

    code: str
    session_state: str | None


def token(random: bytes) -> str:
    """Return random bytes as base64url without padding."""
    return base64url(random)


def authorization_parameters(
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    secrets: Secrets,
    options: Options,
    response_mode: str = "query",
    extra: Mapping[str, str] | None = None,
    resources: Sequence[str] = (),
    dpop_jkt: str | None = None,
) -> dict[str, str]:
    """Return the parameters of an authorization request; fixed extras never displace ours.

    `resources` are those for which tokens will be asked (RFC 8707 2.1). They are one parameter
    here, with spaces between them, and `repeated` takes them apart where they are written.
    `dpop_jkt` is the thumbprint of the key that code and tokens are to be bound to (RFC 9449 10).
    """
    # Authlib has no types.
    s256: Callable[[str], str] = rfc7636.create_s256_code_challenge  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    fixed = extra or {}
    optional = {
        "response_mode": None if response_mode == "query" else response_mode,
        "prompt": options.prompt,
        "login_hint": options.login_hint,
        "acr_values": options.acr_values,
        "max_age": None if options.max_age is None else str(options.max_age),
        "ui_locales": options.ui_locales,
        "dpop_jkt": dpop_jkt,
        "claims": None if options.claims is None else options.claims.text,
        "resource": " ".join(dict.fromkeys([*fixed.get("resource", "").split(), *resources]))
        or None,
    }
    return {
        **fixed,
        **{name: value for name, value in optional.items() if value is not None},
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": secrets.state,
        "nonce": secrets.nonce,
        "code_challenge": s256(secrets.code_verifier),
        "code_challenge_method": "S256",
    }


def authorization_url(endpoint: str, parameters: Mapping[str, str]) -> str:
    """Return the URL of a request: the endpoint's own query is kept (RFC 6749 3.1)."""
    written = form_encoded(repeated(parameters))
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{written}"


def repeated(parameters: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Return the parameters with those that may come more than once as lists (RFC 8707 2)."""
    return {
        name: value.split(" ") if name in REPEATED else value for name, value in parameters.items()
    }


def single_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of an answer. Raises BadResponseError for one given twice or huge."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found and name in SINGLE:
            raise BadResponseError("duplicate_parameter")
        if len(value) > MAX_PARAMETER:
            raise BadResponseError("parameter_too_long")
        found[name] = value
    return found


def check_issuer(parameters: Mapping[str, str], *, issuer: str, promises_iss: bool) -> None:
    """Refuse an answer that another provider gave (RFC 9207 2.4), on errors too.

    `iss`, where given, is the issuer to the letter; a provider that promises it must send it.
    """
    iss = parameters.get("iss")
    if iss is not None and iss != issuer:
        raise BadResponseError("iss_mismatch")
    if iss is None and promises_iss:
        raise BadResponseError("iss_missing")


def granted_code(parameters: Mapping[str, str]) -> Granted:
    """Return the code of an answer whose login was found. Raises BadResponseError for `error`."""
    error = parameters.get("error")
    if error is not None:
        known = error if error in KNOWN_ERRORS else "other"
        raise BadResponseError(f"provider_error_{known}")
    code = parameters.get("code")
    if not code:
        raise BadResponseError("no_code")
    session_state = parameters.get("session_state", "")
    fits = 0 < len(session_state) <= MAX_HINT and session_state.isprintable()
    return Granted(code, session_state if fits and " " not in session_state else None)
