"""What is at `/`, and what of it is logged at each start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.configuration import registration_of
from bff.oidc.provider import Provider
from bff.sessions.parties import Parties, Party
from bff.settings import Settings
from bff.web.hosting import dev_server, spa_folder


def settings(**values: Any) -> Settings:
    """Return a configuration that is complete but for what a test is about."""
    return Settings.load(
        None,
        **{
            "base_url": "https://app.example.com",
            "issuer": "https://login.example.com",
            "client_id": "app",
            "client_secret": "hush",
            "secret": "x" * 40,
            "redis_url": "redis://redis",
            **values,
        },
    )


async def folder_of(configured: Settings) -> object:
    """Return what serves the folder, with a provider that nobody asks."""
    provider = Provider(registration_of(configured))
    try:
        party = Party(provider, None, None, None)  # type: ignore[arg-type]  # nobody asks them
        return spa_folder(configured, Parties({"default": party}))
    finally:
        await provider.aclose()


async def test_without_an_application_there_is_neither() -> None:
    """BFF_SPA unset: the built-in page is shown by others."""
    assert await folder_of(settings()) is None
    assert dev_server(settings()) is None


async def test_a_folder_is_served_and_weak_additions_are_named(tmp_path: Path) -> None:
    """Each frightening source is a warning; the rest of BFF_SPA_CSP is not worth a line."""
    (tmp_path / "index.html").write_text("hello")
    added = """{"script-src": ["'unsafe-eval'"], "img-src": ["https://img.example.com"]}"""
    configured = settings(spa=str(tmp_path), spa_csp=added)
    with capture_logs() as lines:
        assert await folder_of(configured) is not None
        assert dev_server(configured) is None
    assert [(line["event"], line["addition"]) for line in lines] == [
        ("spa.csp_weakened", "script-src 'unsafe-eval'")
    ]
    assert lines[0]["log_level"] == "warning"


@pytest.mark.parametrize(
    ("base_url", "warned"),
    [("https://app.example.com", True), ("https://localhost:8443", False),
     ("http://127.0.0.1:8080", False)],
)  # fmt: skip
async def test_a_dev_server_for_everybody_is_warned_of(base_url: str, *, warned: bool) -> None:
    """Behind a public address a dev server is a mistake, on this machine it is the purpose."""
    configured = settings(base_url=base_url, spa="http://localhost:5173/")
    with capture_logs() as lines:
        route = dev_server(configured)
    assert await folder_of(configured) is None
    assert route is not None
    assert (route.auth, route.prefix, route.cookies) == ("none", b"", False)
    assert [line["event"] for line in lines] == ["spa.dev_server"] * warned
