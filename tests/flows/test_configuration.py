"""What is configured where, and how faults are told before anything listens."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import httpx2
import pytest

from tests.support import processes
from tests.support.commands import environment, run
from tests.support.processes import start, wait_for

SECRET = "a-value-for-BFF_SECRET-that-is-long-enough"


def good(port: int) -> dict[str, str]:
    """Return a configuration without fault, at a provider and a Redis that are not there."""
    return {
        "BFF_BASE_URL": f"http://127.0.0.1:{port}",
        "BFF_ISSUER": f"http://127.0.0.1:{processes.free_port()}",
        "BFF_CLIENT_ID": "spa",
        "BFF_CLIENT_SECRET": "hush-hush",
        "BFF_REDIS_URL": f"redis://127.0.0.1:{processes.free_port()}",
        "BFF_SECRET": SECRET,
    }


def listens(port: int) -> bool:
    """Whether anybody listens on that port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


MANY = {
    "BFF_BASE_URL": ("http://app.example.com", "must be https"),
    "BFF_ISSUER": ("ftp://login.example.com", "must be an https URL"),
    "BFF_CLIENT_ID": ("", "is required"),
    "BFF_CLIENT_SECRET": ("", "is required"),
    "BFF_SCOPES": ("profile", "must contain openid"),
    "BFF_SECRET": ("short", "32 characters"),
    "BFF_REDIS_URL": ("http://redis", "must start with redis://"),
    "BFF_ROUTES": ('{"api": "http://api:9000"}', "must start with a slash"),
    "BFF_AUTHORIZE_PARAMS": ('{"state": "x"}', "may not set state"),
    "BFF_ALLOWED_ORIGINS": ('["*"]', "never *"),
    "BFF_TRUSTED_PROXIES": ('["all"]', "all"),
    "BFF_LOGIN_RATE_LIMIT": ("many", "N/second"),
    "BFF_SPA": ("/nowhere", "index.html"),
    "BFF_SESSION_IDLE_TIMEOUT": ("soon", "integer"),
    "BFF_COOKIE_SAMESITE": ("none", "strict"),
    "BFF_ID_TOKEN_ALG": ("none", "RS256"),
    "BFF_LOG_LEVEL": ("loud", "debug"),
    "BFF_FORWARD_AUTH_KEY": ("short", "32 characters"),
}


def test_every_fault_is_told_at_once_and_nothing_listens(tmp_path: Path) -> None:
    """Exit code 2; each fault names its variable, what is wrong, and a value that would do."""
    port = processes.free_port()
    env = {name: value for name, (value, _) in MANY.items()}
    ended = run(tmp_path, env, "bff", "serve", "--port", str(port))
    assert ended.code == 2
    assert not listens(port)
    assert "Traceback" not in ended.text
    for name, (value, problem) in MANY.items():
        lines = [line for line in ended.text.splitlines() if line.strip().startswith(f"{name}:")]
        assert len(lines) == 1, (name, ended.text)
        assert problem in lines[0], lines[0]
        assert f"for example {name}=" in ended.text
        if name in {"BFF_SECRET", "BFF_FORWARD_AUTH_KEY"}:
            assert value not in lines[0].split(":", 1)[1]
    assert f"{len(MANY)} fault" in ended.text


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With nothing set, what is required is named; by every command that needs it."""
    for command in (("bff", "serve"), ("bff", "check"), ("uvicorn", "--factory", "bff:create_app")):
        ended = run(tmp_path, {}, *command)
        assert ended.code == 2, ended.text
        for name in ("BFF_BASE_URL", "BFF_ISSUER", "BFF_CLIENT_ID"):
            assert f"{name}: is required" in ended.text


@pytest.mark.parametrize(
    ("changes", "name", "problem"),
    [
        ({"BFF_BASE_URL": "https://a.example", "BFF_REDIS_URL": ""}, "BFF_REDIS_URL", "required"),
        ({"BFF_CLIENT_KEY_FILE": "/nowhere/key.pem"}, "BFF_CLIENT_KEY_FILE", "read"),
        ({"BFF_SECRET_FILE": "/nowhere/secret", "BFF_SECRET": ""}, "BFF_SECRET", "BFF_SECRET_FILE"),
        ({"BFF_ROUTES": '{"/a": "http://a", "/a": "http://b"}'}, "BFF_ROUTES", "twice"),
    ],
    ids=str,
)  # fmt: skip
def test_a_single_fault_is_the_only_one_told(
    tmp_path: Path, changes: dict[str, str], name: str, problem: str
) -> None:
    """Rules over several variables are found too, and no innocent one is accused."""
    port = processes.free_port()
    ended = run(tmp_path, {**good(port), **changes}, "bff", "serve", "--port", str(port))
    assert ended.code == 2
    assert "1 fault" in ended.text
    line = next(line for line in ended.text.splitlines() if line.strip().startswith(f"{name}:"))
    assert problem in line


def test_secrets_come_from_files_the_rest_from_dotenv_and_the_environment_wins(
    tmp_path: Path,
) -> None:
    """`NAME_FILE`, then `.env` in the working folder; an unknown variable is only warned of."""
    port, wrong_port = processes.free_port(), processes.free_port()
    everything = good(port)
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    (tmp_path / "client-secret").write_text("hush-hush\n", encoding="utf-8")
    (tmp_path / ".env").write_text(
        f"BFF_BASE_URL=http://127.0.0.1:{wrong_port}\n"
        f"BFF_CLIENT_ID=spa\n"
        f"BFF_ISSUER={everything['BFF_ISSUER']}\n"
        f"BFF_REDIS_URL={everything['BFF_REDIS_URL']}\n"
        f"BFF_SECRET_FILE={tmp_path / 'secret'}\n",
        encoding="utf-8",
    )
    env = {
        "BFF_BASE_URL": everything["BFF_BASE_URL"],
        "BFF_CLIENT_SECRET_FILE": str(tmp_path / "client-secret"),
        "BFF_COOKIE_SAMESIDE": "lax",
        "BFF_LOG_FORMAT": "json",
    }
    service = start(
        ["bff", "serve", "--port", str(port)],
        tmp_path / "log",
        environment(env, tmp_path),
        tmp_path,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/bff/healthz", service)
        assert httpx2.get(f"http://127.0.0.1:{port}/bff/jwks.json").json() == {"keys": []}
        ready = httpx2.get(f"http://127.0.0.1:{port}/bff/readyz")
        assert ready.json() == {
            "status": "unavailable", "store": "unavailable", "provider": "unavailable",
        }  # fmt: skip
    finally:
        service.stop()
    text = service.text()
    assert '"variable": "BFF_COOKIE_SAMESIDE"' in text
    assert text.count("configuration.unknown_variable") == 1
    assert f"127.0.0.1:{port}" in text
    assert "hush-hush" not in text
    assert SECRET not in text
