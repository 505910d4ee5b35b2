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
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bff.client_settings import ClientSettings
from bff.environment import PREFIX, EnvironmentSource, Unreadable
from bff.faults import ConfigurationError, fault_of
from bff.provider_settings import NamedClient, parse_providers
from bff.spa.csp import Sources, parse_sources
from bff.values import is_loopback, origin_of, parse_json, parse_url, strings

MIN_SECRET = 32


class Settings(ClientSettings):
    """Everything that can be configured. Field `x_y` is the variable `BFF_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    base_url: str
    provider_label: str = ""
    providers: Annotated[dict[str, NamedClient], NoDecode, BeforeValidator(parse_providers)] = (
        Field(default={})
    )
    redis_url: SecretStr | None = Field(default=None, validate_default=True)
    secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), validate_default=True)
    routes: Annotated[dict[str, Any], NoDecode] = Field(default={})
    spa: str | None = None
    spa_csp: Annotated[Sources, NoDecode, BeforeValidator(parse_sources)] = Field(default={})
    session_idle_timeout: int = Field(default=1800, ge=1, le=31_536_000)
    session_max_lifetime: int = Field(default=43_200, ge=1, le=31_536_000)
    max_sessions_per_user: int = Field(default=0, ge=0, le=10_000)
    cookie_samesite: Literal["strict", "lax"] = "strict"
    websocket_max_message: int = Field(default=16_777_216, ge=125, le=1_099_511_627_776)
    websocket_idle_timeout: int = Field(default=60, ge=1, le=86_400)
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
    def _forward_auth_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        clients: dict[str, NamedClient] = info.data.get("providers", {})
        bound = info.data.get("dpop") or any(client.dpop for client in clients.values())
        if value is not None and bound:
            raise ValueError(
                "cannot be used with BFF_DPOP: tokens that are bound to a key of this service are"
                " of no use to another proxy"
            )
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
