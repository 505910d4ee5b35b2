"""`.env.example` agrees with the program: every setting is in it, explained, and it loads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from bff.environment import SECRETS
from bff.proxy.route_config import parse_routes
from bff.settings import Settings
from tests.support.env_example import ASSIGNMENTS, ENV_EXAMPLE, SETTING_LINES, load

if TYPE_CHECKING:
    from pathlib import Path

LONG = "x" * 40
# The variables of the contract, section 2, so that none of them can be lost.
CONTRACT = frozenset(
    {
        "BASE_URL", "ISSUER", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_AUTH", "CLIENT_KEY_FILE",
        "SCOPES", "AUTHORIZE_PARAMS", "RESPONSE_MODE", "ID_TOKEN_ALG", "FETCH_USERINFO", "SECRET",
        "REDIS_URL", "ROUTES", "SPA", "SESSION_IDLE_TIMEOUT", "SESSION_MAX_LIFETIME",
        "COOKIE_SAMESITE", "ALLOWED_ORIGINS", "TRUSTED_PROXIES", "CLOCK_SKEW", "LOGIN_RATE_LIMIT",
        "LOGOUT_TOKEN_TYP", "FRONTCHANNEL_LOGOUT", "INITIATE_LOGIN", "FORWARD_AUTH_KEY",
        "LOG_FORMAT", "LOG_LEVEL",
    }
)  # fmt: skip
SETTINGS = sorted(CONTRACT | {name.upper() for name in Settings.model_fields})
ON_THE_OPERATORS_DISK = re.compile(r"BFF_\w+_FILE=|BFF_SPA=/")


def block_above(variable: str) -> str:
    """The paragraph of `.env.example` that leads to a variable."""
    line = re.search(rf"^#?{variable}=", ENV_EXAMPLE, re.MULTILINE)
    assert line, f"{variable} is missing"
    return ENV_EXAMPLE[: line.start()].rpartition("\n\n")[2]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_explained(name: str) -> None:
    """Every setting stands in `.env.example`, below lines that explain it."""
    assert "# " in block_above(f"BFF_{name}")


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_names_its_file_form(name: str) -> None:
    """A secret can come from a file, and the example says so."""
    assert re.search(rf"^#?BFF_{name.upper()}_FILE=", ENV_EXAMPLE, re.MULTILINE)


def test_the_example_holds_no_setting_that_does_not_exist() -> None:
    """No line sets a variable that the program would ignore."""
    known = {f"BFF_{name.upper()}" for name in Settings.model_fields}
    known |= {f"BFF_{name.upper()}_FILE" for name in SECRETS}
    assert {name for name, _ in ASSIGNMENTS} - known == set()


def test_every_accepted_word_is_named() -> None:
    """Where a setting takes one of several words, the example names each of them."""
    for name, field in Settings.model_fields.items():
        words = {word for word in _literals(field.annotation) if isinstance(word, str)}
        block = block_above(f"BFF_{name.upper()}")
        missing = {word for word in words if not re.search(rf"\b{re.escape(word)}\b", block)}
        assert not missing, f"BFF_{name.upper()} does not name {missing}"


def _literals(annotation: object) -> list[object]:
    found: list[object] = []
    for argument in get_args(annotation):
        found += _literals(argument) if get_args(argument) else [argument]
    return found


def test_the_example_loads_as_it_is(tmp_path: Path) -> None:
    """A copy of the example, before any change, is a configuration without a fault."""
    settings = load(tmp_path, ENV_EXAMPLE)
    assert settings.base_url == "http://localhost:8080"


@pytest.mark.parametrize(
    ("name", "value"),
    [item for item in ASSIGNMENTS if not ON_THE_OPERATORS_DISK.match("=".join(item))],
)
def test_every_value_in_the_example_loads(name: str, value: str, tmp_path: Path) -> None:
    """Each default and each example is accepted, routes down to their members."""
    secrets = f"BFF_SECRET={LONG}", f"BFF_CLIENT_SECRET={LONG}"
    settings = load(tmp_path, ENV_EXAMPLE, *secrets, f"{name}={value}")
    parse_routes(settings.routes)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_in_the_example_is_the_programs_default(name: str, tmp_path: Path) -> None:
    """What a commented line shows is what leaving it out means, unless the text says otherwise."""
    field = Settings.model_fields[name.lower()]
    if field.is_required() or field.default is None or name == "SECRET":
        return
    value = next(value for _, line, value in SETTING_LINES if line == f"BFF_{name}")
    plain = load(tmp_path, ENV_EXAMPLE)
    stated = load(tmp_path, ENV_EXAMPLE, f"BFF_{name}={value}")
    assert getattr(stated, name.lower()) == getattr(plain, name.lower()) == field.default


def test_what_is_unset_by_default_says_so() -> None:
    """A line whose value is not the default has a text that says what the default is."""
    for commented, line, _ in SETTING_LINES:
        field = Settings.model_fields.get(line.removeprefix("BFF_").lower())
        if commented and field is not None and field.default is None:
            assert re.search(r"Unset by\s+#?\s*default|Required", block_above(line)), line
