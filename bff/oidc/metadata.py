"""What a provider publishes about itself, judged before it is used. Pure.

OIDC Discovery 1.0 section 4.3, RFC 8414: the issuer must be the configured one to the letter; an
endpoint must be an absolute https URL (http only where the issuer itself is on loopback). A bad
required endpoint refuses the document; a bad optional one is as if it were not there, unless the
provider demands that it be used. To a client with a certificate, what `mtls_endpoint_aliases` lists
are the endpoints (RFC 8705 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bff.issuers import published_issuer
from bff.oidc.json import is_array, is_object
from bff.provider_values import PlainOAuth2

REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
OPTIONAL = (
    "userinfo_endpoint",
    "end_session_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "check_session_iframe",
)
ALIASED = (
    "token_endpoint",
    "userinfo_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
)


class BadMetadataError(Exception):
    """The discovery document cannot be used; `reason` is a stable word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of the discovery document that we act on. `ignored` names endpoints left out."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    revocation_endpoint: str | None
    pushed_authorization_request_endpoint: str | None
    token_endpoint_auth_methods: frozenset[str]
    promises_iss: bool
    demands_request_object: bool = False
    check_session_iframe: str | None = None
    ignored: tuple[str, ...] = ()


def discovery_url(issuer: str) -> str:
    """Return where the issuer's document is (OIDC Discovery 4): one trailing slash is dropped."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def judge_metadata(
    document: Mapping[str, Any],
    issuer: str,
    *,
    mtls: bool = False,
    end_session_endpoint: str | None = None,
) -> Metadata:
    """Return the usable metadata; `mtls`: we show a certificate, so aliases are used.

    `end_session_endpoint`, where it is given, stands for the document's own. Raises
    BadMetadataError naming the first thing wrong.
    """
    if document.get("issuer") != published_issuer(issuer):
        raise BadMetadataError("issuer_mismatch")
    if mtls:
        document = {**document, **_aliases(document)}
    plain = issuer.startswith("http://")
    required = {name: document.get(name) for name in REQUIRED}
    for name, value in required.items():
        if not _usable(value, plain=plain):
            raise BadMetadataError(f"bad_{name}")
    offered = {name: document.get(name) for name in OPTIONAL if document.get(name) is not None}
    optional = {name: value for name, value in offered.items() if _usable(value, plain=plain)}
    pushed = optional.get("pushed_authorization_request_endpoint")
    if document.get("require_pushed_authorization_requests") is True and pushed is None:
        raise BadMetadataError("no_pushed_authorization_request_endpoint")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=str(required["authorization_endpoint"]),
        token_endpoint=str(required["token_endpoint"]),
        jwks_uri=str(required["jwks_uri"]),
        userinfo_endpoint=optional.get("userinfo_endpoint"),
        end_session_endpoint=end_session_endpoint or optional.get("end_session_endpoint"),
        revocation_endpoint=optional.get("revocation_endpoint"),
        pushed_authorization_request_endpoint=pushed,
        token_endpoint_auth_methods=frozenset(
            method for method in methods if isinstance(method, str)
        )
        if is_array(methods)
        else frozenset({"client_secret_basic"}),
        promises_iss=document.get("authorization_response_iss_parameter_supported") is True,
        check_session_iframe=optional.get("check_session_iframe"),
        demands_request_object=document.get("require_signed_request_object") is True,
        ignored=tuple(sorted(offered.keys() - optional.keys())),
    )


def fixed_metadata(issuer: str, plain: PlainOAuth2, end_session_endpoint: str | None) -> Metadata:
    """Return the metadata of a provider that publishes none, and has no keys.

    Most such providers document the secret in the form, and not all take Basic.
    """
    return Metadata(
        issuer=issuer,
        authorization_endpoint=plain.authorization_endpoint,
        token_endpoint=plain.token_endpoint,
        jwks_uri="",
        userinfo_endpoint=plain.userinfo_endpoint,
        end_session_endpoint=end_session_endpoint,
        revocation_endpoint=None,
        pushed_authorization_request_endpoint=None,
        token_endpoint_auth_methods=frozenset({"client_secret_post"}),
        promises_iss=False,
    )


def _aliases(document: Mapping[str, Any]) -> dict[str, Any]:
    aliases = document.get("mtls_endpoint_aliases")
    if not is_object(aliases):
        return {}
    return {name: aliases[name] for name in ALIASED if aliases.get(name) is not None}


def _usable(value: object, *, plain: bool) -> bool:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    schemes = {"https", "http"} if plain else {"https"}
    return (
        parts.scheme in schemes
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and "\\" not in value
        and "#" not in value
    )
