"""The part of the configuration that concerns the provider, and us as its client.

What the provider and we agreed on when the client was registered: who is who, how we prove it, what
is asked for, and in which form answers come. See docs/clients.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from bff.issuers import several_tenants
from bff.provider_values import (
    Accepted,
    PlainOAuth2,
    parse_endpoint,
    parse_logout_params,
    parse_plain_oauth2,
    parse_required_claims,
    parse_tenants,
)
from bff.values import is_loopback, parse_json, parse_url, strings

MIN_HS256_SECRET = 32
DEFAULT_SCOPES = ("openid", "profile", "email")

ClientAuth = Literal[
    "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
    "tls_client_auth", "self_signed_tls_client_auth", "none",
]  # fmt: skip
IdTokenAlg = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256",
]  # fmt: skip
ResponseMode = Literal["query", "form_post", "jwt", "form_post.jwt"]
RESERVED_AUTHORIZE_PARAMS = frozenset(
    {"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
     "code_challenge", "code_challenge_method", "request", "request_uri", "dpop_jkt"}
)  # fmt: skip


class ClientSettings(BaseSettings):
    """How we are registered at the provider. Field `x_y` is the variable `BFF_X_Y`."""

    issuer: str
    tenants: Annotated[frozenset[str], NoDecode, BeforeValidator(parse_tenants)] = Field(
        default=frozenset(), validate_default=True
    )
    oauth2_without_id_token: Annotated[
        PlainOAuth2 | None, NoDecode, BeforeValidator(parse_plain_oauth2)
    ] = None
    client_id: str
    client_key_file: Path | None = None
    client_cert_file: Path | None = None
    client_cert_key_file: Path | None = Field(default=None, validate_default=True)
    client_auth: ClientAuth | None = Field(default=None, validate_default=True)
    client_secret: SecretStr | None = Field(default=None, validate_default=True)
    basic_auth_encoding: Literal["rfc6749", "raw"] = "rfc6749"
    scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=DEFAULT_SCOPES, validate_default=True
    )
    authorize_params: Annotated[dict[str, str], NoDecode] = {}
    dpop: bool = False
    request_object: bool | None = None
    required_claims: Annotated[
        dict[str, Accepted], NoDecode, BeforeValidator(parse_required_claims)
    ] = {}
    end_session_endpoint: str | None = None
    logout_params: Annotated[
        dict[str, str] | None, NoDecode, BeforeValidator(parse_logout_params)
    ] = None
    response_mode: ResponseMode = "query"
    id_token_alg: IdTokenAlg = Field(default="RS256", validate_default=True)
    id_token_encryption: Literal["if_present", "required"] = "if_present"  # noqa: S105 - no secret
    fetch_userinfo: bool | None = None

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        parts = parse_url(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an https URL")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https; http is only for a loopback host")
        if parts.query or parts.fragment or "?" in value or "#" in value or "@" in parts.netloc:
            raise ValueError("must have no query, fragment or user")
        return value

    @field_validator("tenants")
    @classmethod
    def _tenants(cls, value: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        issuer: str | None = info.data.get("issuer")
        if issuer is None:
            return value
        if several_tenants(issuer) and not value:
            raise ValueError("is required: which tenants of BFF_ISSUER may sign in here")
        if value and not several_tenants(issuer):
            raise ValueError(
                "is for the issuers /common/v2.0, /organizations/v2.0, /consumers/v2.0"
            )
        return value

    @field_validator("client_id")
    @classmethod
    def _client_id(cls, value: str) -> str:
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError("must be printable ASCII")
        return value

    @field_validator("client_key_file", "client_cert_file")
    @classmethod
    def _readable_file(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError("the file cannot be read")
        return value

    @field_validator("client_cert_key_file")
    @classmethod
    def _client_cert_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("client_cert_file", ...) is None:
            raise ValueError("is the key of BFF_CLIENT_CERT_FILE, which is not set")
        return cls._readable_file(value)

    @field_validator("client_auth")
    @classmethod
    def _client_auth(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "private_key_jwt" and info.data.get("client_key_file", ...) is None:
            raise ValueError("private_key_jwt needs BFF_CLIENT_KEY_FILE")
        if value in {"tls_client_auth", "self_signed_tls_client_auth"} and (
            info.data.get("client_cert_file", ...) is None
        ):
            raise ValueError(f"{value} needs BFF_CLIENT_CERT_FILE and BFF_CLIENT_CERT_KEY_FILE")
        return value

    @field_validator("client_secret")
    @classmethod
    def _client_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        method = info.data.get("client_auth")
        proofs = (info.data.get("client_key_file"), info.data.get("client_cert_file"))
        if value is None and method is None and proofs == (None, None):
            raise ValueError(
                "is required (or BFF_CLIENT_KEY_FILE, or BFF_CLIENT_CERT_FILE,"
                " or BFF_CLIENT_AUTH=none for a public client)"
            )
        if value is None and method in {
            "client_secret_basic", "client_secret_post", "client_secret_jwt",
        }:  # fmt: skip
            raise ValueError(f"is required by BFF_CLIENT_AUTH={method}")
        short = value is not None and len(value.get_secret_value().encode()) < MIN_HS256_SECRET
        if short and method == "client_secret_jwt":
            raise ValueError("client_secret_jwt needs 32 bytes or more (RFC 7518 3.2)")
        return value

    @field_validator("end_session_endpoint")
    @classmethod
    def _end_session_endpoint(cls, value: str | None) -> str | None:
        return None if value is None else parse_endpoint(value)

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes(cls, value: object, info: ValidationInfo) -> object:
        scopes = tuple(value.split()) if isinstance(value, str) else strings(value)
        plain = info.data.get("oauth2_without_id_token") is not None
        if plain and scopes == DEFAULT_SCOPES:
            return ()
        if not plain and "openid" not in scopes:
            raise ValueError("must contain openid")
        if any(not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in scopes):
            raise ValueError("has a character that no scope may have (RFC 6749 3.3)")
        return scopes

    @field_validator("authorize_params", mode="before")
    @classmethod
    def _authorize_params(cls, value: object) -> object:
        params = parse_json(value, dict, "a JSON object of strings")
        if taken := RESERVED_AUTHORIZE_PARAMS & params.keys():
            raise ValueError(f"may not set {', '.join(sorted(taken))}: the service sets it")
        return params

    @field_validator("response_mode")
    @classmethod
    def _response_mode(cls, value: str, info: ValidationInfo) -> str:
        if value.endswith("jwt") and info.data.get("oauth2_without_id_token") is not None:
            raise ValueError("jwt needs keys, and BFF_OAUTH2_WITHOUT_ID_TOKEN has none")
        return value

    @field_validator("dpop")
    @classmethod
    def _dpop(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("oauth2_without_id_token") is not None:
            raise ValueError("cannot be used with BFF_OAUTH2_WITHOUT_ID_TOKEN")
        return value

    @field_validator("id_token_alg")
    @classmethod
    def _id_token_alg(cls, value: str, info: ValidationInfo) -> str:
        secret = info.data.get("client_secret")
        if value == "HS256" and "client_secret" in info.data:
            if secret is None:
                raise ValueError("HS256 needs BFF_CLIENT_SECRET")
            if len(secret.get_secret_value().encode()) < MIN_HS256_SECRET:
                raise ValueError("HS256 needs a BFF_CLIENT_SECRET of 32 bytes or more (RFC 7518)")
        return value
