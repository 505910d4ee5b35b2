"""The configuration: read from the environment, judged all at once (contract, section 2).

Sources, strongest first: arguments, environment, `NAME_FILE`, `.env` in the working folder. Every
fault is reported together, each naming its variable, what is wrong, and an example. Rules over
several variables sit in the validator of the later one, so that they are found in the same pass.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from limits import parse as parse_rate
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bff.environment import PREFIX, EnvironmentSource, Unreadable
from bff.faults import ConfigurationError, fault_of
from bff.values import is_loopback, origin_of, parse_json, parse_url, strings

MIN_SECRET = 32

ClientAuth = Literal[
    "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"
]
IdTokenAlg = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256",
]  # fmt: skip
RESERVED_AUTHORIZE_PARAMS = frozenset(
    {"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
     "code_challenge", "code_challenge_method", "request", "request_uri"}
)  # fmt: skip


class Settings(BaseSettings):
    """Everything that can be configured. Field `x_y` is the variable `BFF_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    base_url: str
    issuer: str
    client_id: str
    client_key_file: Path | None = None
    client_auth: ClientAuth | None = Field(default=None, validate_default=True)
    client_secret: SecretStr | None = Field(default=None, validate_default=True)
    scopes: Annotated[tuple[str, ...], NoDecode] = ("openid", "profile", "email")
    authorize_params: Annotated[dict[str, str], NoDecode] = {}
    response_mode: Literal["query", "form_post"] = "query"
    id_token_alg: IdTokenAlg = Field(default="RS256", validate_default=True)
    fetch_userinfo: bool | None = None
    redis_url: SecretStr | None = Field(default=None, validate_default=True)
    secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), validate_default=True)
    routes: Annotated[dict[str, Any], NoDecode] = {}
    spa: str | None = None
    session_idle_timeout: int = Field(default=1800, ge=1, le=31_536_000)
    session_max_lifetime: int = Field(default=43_200, ge=1, le=31_536_000)
    max_sessions_per_user: int = Field(default=0, ge=0, le=10_000)
    cookie_samesite: Literal["strict", "lax"] = "strict"
    allowed_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    trusted_proxies: Annotated[
        tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], NoDecode
    ] = ()
    clock_skew: int = Field(default=30, ge=0, le=300)
    login_rate_limit: str = "60/minute"
    logout_token_typ: Literal["if_present", "required"] = "if_present"  # noqa: S105 - no secret
    frontchannel_logout: bool = False
    initiate_login: bool = False
    forward_auth_key: SecretStr | None = None
    log_format: Literal["json", "console"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_dir: Path | None = None

    @property
    def origin(self) -> str:
        """Scheme and authority of BFF_BASE_URL, as a browser serialises an origin (RFC 6454)."""
        return self.base_url

    @property
    def loopback_http(self) -> bool:
        """Whether the service is reached by plain http on this machine: plain cookie names."""
        return self.base_url.startswith("http://")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of BFF_SECRET, newest first."""
        return tuple(value.get_secret_value() for value in self.secret)

    @classmethod
    def load(cls, env_file: Path | None = None, **values: object) -> Self:
        """Read and judge the configuration. Raises ConfigurationError with every fault."""
        try:
            return cls(_env_file=env_file or Path(".env"), **values)  # type: ignore[arg-type]  # judged by pydantic
        except ValidationError as error:
            raise ConfigurationError([fault_of(item) for item in error.errors()]) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then one reading of environment, `_FILE` and `.env`."""
        env_file = getattr(dotenv_settings, "env_file", None)
        return (init_settings, EnvironmentSource(settings_cls, os.environ, env_file))

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        parts = parse_url(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https URL")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https; http is only for a loopback host")
        if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an origin only: no path, query, fragment or user")
        return origin_of(parts)

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

    @field_validator("client_id")
    @classmethod
    def _client_id(cls, value: str) -> str:
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError("must be printable ASCII")
        return value

    @field_validator("client_key_file")
    @classmethod
    def _client_key_file(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError("the file cannot be read")
        return value

    @field_validator("client_auth")
    @classmethod
    def _client_auth(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "private_key_jwt" and info.data.get("client_key_file", ...) is None:
            raise ValueError("private_key_jwt needs BFF_CLIENT_KEY_FILE")
        return value

    @field_validator("client_secret")
    @classmethod
    def _client_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        method = info.data.get("client_auth")
        has_key = info.data.get("client_key_file") is not None
        if value is None and method is None and not has_key:
            raise ValueError(
                "is required (or BFF_CLIENT_KEY_FILE, or BFF_CLIENT_AUTH=none for a public client)"
            )
        if value is None and method in {
            "client_secret_basic", "client_secret_post", "client_secret_jwt",
        }:  # fmt: skip
            raise ValueError(f"is required by BFF_CLIENT_AUTH={method}")
        return value

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes(cls, value: object) -> object:
        scopes = tuple(value.split()) if isinstance(value, str) else strings(value)
        if "openid" not in scopes:
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

    @field_validator("id_token_alg")
    @classmethod
    def _id_token_alg(cls, value: str, info: ValidationInfo) -> str:
        secret = info.data.get("client_secret")
        if value == "HS256" and "client_secret" in info.data:
            if secret is None:
                raise ValueError("HS256 needs BFF_CLIENT_SECRET")
            if len(secret.get_secret_value().encode()) < MIN_SECRET:
                raise ValueError("HS256 needs a BFF_CLIENT_SECRET of 32 bytes or more (RFC 7518)")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            base: str | None = info.data.get("base_url")
            if base is not None and not is_loopback(urlsplit(base).hostname):
                raise ValueError("is required unless BFF_BASE_URL is a loopback host")
            return None
        scheme, separator, _ = value.get_secret_value().partition("://")
        if not separator or scheme not in {
            "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel",
            "redis+cluster", "rediss+cluster",
        }:  # fmt: skip
            raise ValueError(
                "must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
            )
        return value

    @field_validator("secret", mode="before")
    @classmethod
    def _secret(cls, value: object, info: ValidationInfo) -> object:
        values = tuple(value.split()) if isinstance(value, str) else strings(value)
        if not values and info.data.get("redis_url") is None:
            base: str | None = info.data.get("base_url")
            if base is not None and is_loopback(urlsplit(base).hostname):
                return ()
        if not values:
            raise ValueError("is required")
        if any(len(item) < MIN_SECRET for item in values):
            raise ValueError("each value must have 32 characters or more")
        return values

    @field_validator("routes", mode="before")
    @classmethod
    def _routes(cls, value: object) -> object:
        return parse_json(value, dict, "a JSON object of path prefixes")

    @field_validator("spa")
    @classmethod
    def _spa(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.startswith(("http://", "https://")):
            parts = parse_url(value)
            if parts.path not in {"", "/"} or parts.query or parts.fragment or not parts.hostname:
                raise ValueError("the dev server must be an origin only")
            return origin_of(parts)
        if not (Path(value) / "index.html").is_file():
            raise ValueError("must be a folder that holds index.html, or the URL of a dev server")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _allowed_origins(cls, value: object) -> object:
        origins = strings(
            parse_json(value, list, "a JSON list") if isinstance(value, str) else value
        )
        for origin in origins:
            parts = parse_url(origin)
            if parts.scheme not in {"http", "https"} or origin_of(parts) != origin:
                raise ValueError(
                    "must hold exact origins, such as https://www.example.com, never *"
                )
            if parts.scheme == "http" and not is_loopback(parts.hostname):
                raise ValueError("must hold https origins; http is only for a loopback host")
        return frozenset(origins)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _trusted_proxies(cls, value: object) -> object:
        given = parse_json(value, list, "a JSON list") if isinstance(value, str) else value
        return tuple(ipaddress.ip_network(item) for item in strings(given))

    @field_validator("login_rate_limit")
    @classmethod
    def _login_rate_limit(cls, value: str) -> str:
        if value and not re.fullmatch(r"[1-9]\d{0,6}/(second|minute|hour)", value):
            raise ValueError("must be N/second, N/minute or N/hour, or empty for none")
        if value:
            parse_rate(value)
        return value

    @field_validator("forward_auth_key")
    @classmethod
    def _forward_auth_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET:
            raise ValueError("must have 32 characters or more")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        """Runs first: pydantic calls `before` validators from the last to the first."""
        if isinstance(value, Unreadable):
            raise ValueError(f"the file named by {value.variable} cannot be read")  # noqa: TRY004
        return value
