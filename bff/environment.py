"""Where the configuration is read from: environment, the files that `NAME_FILE` names, `.env`.

A variable that is set but empty counts as unset, save where empty has a meaning. A secret's file
that cannot be read becomes an `Unreadable` value, so that it is reported beside all other faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

PREFIX = "BFF_"
SECRETS = frozenset({"secret", "client_secret", "redis_url", "forward_auth_key"})
PARTED = frozenset({"providers"})
MEANINGFUL_WHEN_EMPTY = frozenset({"login_rate_limit"})


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the value of a secret whose file cannot be read."""

    variable: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A setting that also has variables for its parts: `BFF_NAME__PART`, by what follows `__`."""

    whole: object
    single: Mapping[str, str]


class EnvironmentSource(PydanticBaseSettingsSource):
    """One reading of all layers, the strongest first."""

    def __init__(
        self, settings_cls: type[BaseSettings], environ: Mapping[str, str], env_file: object
    ) -> None:
        super().__init__(settings_cls)
        dotenv = dotenv_values(env_file) if isinstance(env_file, str | Path) else {}
        self.layers: tuple[Mapping[str, str | None], ...] = (environ, dotenv)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one field, as the abstract base asks."""
        del field
        return self._value(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return every value that is set."""
        values: dict[str, Any] = {
            name: self._value(name) for name in self.settings_cls.model_fields
        }
        for name in PARTED & values.keys():
            if single := self._single(f"{PREFIX}{name.upper()}__"):
                values[name] = Parts(values[name], single)
        return {name: value for name, value in values.items() if value is not None}

    def _single(self, prefix: str) -> dict[str, str]:
        return {
            variable.removeprefix(prefix): value
            for layer in reversed(self.layers)
            for variable, value in layer.items()
            if variable.startswith(prefix) and value
        }

    def _value(self, name: str) -> str | Unreadable | None:
        variable = PREFIX + name.upper()
        for layer in self.layers:
            value = layer.get(variable)
            if value or (value is not None and name in MEANINGFUL_WHEN_EMPTY):
                return value
            file = layer.get(f"{variable}_FILE") if name in SECRETS else None
            if file:
                try:
                    return Path(file).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError):
                    return Unreadable(f"{variable}_FILE")
        return None


def unknown_variables(environ: Iterable[str], fields: Iterable[str]) -> list[str]:
    """Name the `BFF_` variables that mean nothing here: most often a slip of the pen."""
    known = {PREFIX + name.upper() for name in fields}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    parted = tuple(f"{PREFIX}{name.upper()}__" for name in PARTED)
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in known and not name.startswith(parted)
    )
