"""BFF_PROVIDERS: further providers, each with the settings of the first, under a name of its own.

As JSON, `{"google": {"issuer": ..., "client_id": ..., "client_secret_file": ...}}`, or a variable a
setting, `BFF_PROVIDERS__GOOGLE__CLIENT_ID`; the variable wins. Nothing is inherited from the first
provider: what is not said has its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from bff.client_settings import ClientSettings
from bff.environment import Parts
from bff.values import parse_json

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
MAX_PROVIDERS = 16
FIRST = "default"
SECRET = "client_secret"  # noqa: S105 - the name of a setting
SECRET_FILE = f"{SECRET}_file"


class NamedClient(ClientSettings):
    """How we are registered at a provider of BFF_PROVIDERS; `label` is what people see of it."""

    label: str = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what BFF_PROVIDERS says; the variables of the first provider are not read."""
        return (init_settings,)


def parse_providers(value: object) -> dict[str, NamedClient]:
    """Return the providers by name. Raises ValueError with everything that is wrong with them."""
    if isinstance(value, Parts):
        value = merged(value.whole, value.single)
    given = parse_json(value, dict, "a JSON object of providers by name")
    if len(given) > MAX_PROVIDERS:
        raise ValueError(f"has more than {MAX_PROVIDERS} providers")
    providers: dict[str, NamedClient] = {}
    faults: list[str] = []
    for name, entry in given.items():
        if isinstance(entry, NamedClient):
            providers[name] = entry
        elif not NAME.fullmatch(name) or name == FIRST:
            faults.append(f"{name!r} is no name: small letters, digits and hyphens; not {FIRST!r}")
        elif not isinstance(entry, Mapping):
            faults.append(f"{name} must be an object with issuer, client_id and more")
        else:
            try:
                providers[name] = _client(dict(cast("Mapping[str, Any]", entry)))
            except ValidationError as error:
                faults += [_text(name, item) for item in error.errors()]
            except ValueError as error:
                faults.append(f"{name}.{error}")
    if faults:
        raise ValueError("; ".join(faults))
    return providers


def merged(value: object, single: Mapping[str, str]) -> object:
    """Return BFF_PROVIDERS with what single variables say; `single` has `NAME__SETTING` as keys.

    Raises ValueError for JSON that is none.
    """
    if not single:
        return value
    providers: dict[str, Any] = (
        dict(parse_json(value, dict, "a JSON object of providers by name")) if value else {}
    )
    for variable, text in single.items():
        name, _, setting = variable.lower().partition("__")
        entry = providers.setdefault(name.replace("_", "-"), {})
        if isinstance(entry, dict):
            entry[setting] = text
    return providers


def _client(entry: dict[str, Any]) -> NamedClient:
    known = NamedClient.model_fields.keys() | {SECRET_FILE}
    if unknown := sorted(entry.keys() - known):
        raise ValueError(f"{unknown[0]}: there is no such setting")
    path = entry.pop(SECRET_FILE, None)
    if path is not None and SECRET not in entry:
        try:
            entry[SECRET] = Path(str(path)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"{SECRET_FILE}: the file cannot be read") from None
    return NamedClient(**entry)


def _text(name: str, item: Mapping[str, Any]) -> str:
    setting = ".".join(str(part) for part in item["loc"])
    problem = "is required" if item["type"] == "missing" else str(item["msg"])
    return f"{name}.{setting}: {problem.removeprefix('Value error, ')}"
