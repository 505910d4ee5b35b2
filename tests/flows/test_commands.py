"""`bff secret`, `bff check`, any ASGI server, and how the service is stopped."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.conftest import RunService
from tests.support import processes
from tests.support.commands import environment, run
from tests.support.processes import DevProvider, start, wait_for
from tests.support.site import SECRET, open_site, sign_in, signed_in
from tests.support.user_agent import UserAgent


def test_bff_secret_prints_a_fresh_value_that_is_accepted(tmp_path: Path) -> None:
    """Two runs differ; each is one line that BFF_SECRET takes, alone or with an older one."""
    first, second = (run(tmp_path, {}, "bff", "secret") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    values = [first.text.strip(), second.text.strip()]
    assert values[0] != values[1]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43,}", value) for value in values)
    env = {
        "BFF_BASE_URL": "https://app.example.com", "BFF_ISSUER": "http://127.0.0.1:1",
        "BFF_CLIENT_ID": "spa", "BFF_CLIENT_SECRET": "x", "BFF_SECRET": " ".join(values),
        "BFF_REDIS_URL": "redis://127.0.0.1:1",
    }  # fmt: skip
    assert run(tmp_path, env, "bff", "check").code == 1


def test_bff_check_says_that_a_login_can_work(
    tmp_path: Path, dev_provider: DevProvider, redis_url: str
) -> None:
    """Exit code 0, with what was found and what to register at the provider."""
    env = {
        **dev_provider.settings(), "BFF_BASE_URL": "http://127.0.0.1:8080",
        "BFF_REDIS_URL": redis_url, "BFF_SECRET": SECRET,
    }  # fmt: skip
    ended = run(tmp_path, env, "bff", "check")
    assert ended.code == 0, ended.text
    assert "A login can work." in ended.text
    assert f"found {dev_provider.issuer}" in ended.text
    for path in ("/bff/callback", "/bff/logged-out", "/bff/backchannel-logout"):
        assert f"register http://127.0.0.1:8080{path}" in ended.text
    assert dev_provider.client_secret not in ended.text
    assert SECRET not in ended.text


def test_bff_check_speaks_to_programs(
    tmp_path: Path, dev_provider: DevProvider, redis_url: str
) -> None:
    """`--json` has every finding with area, grade, subject, text and advice."""
    env = {
        **dev_provider.settings(), "BFF_BASE_URL": "http://127.0.0.1:8080",
        "BFF_REDIS_URL": redis_url, "BFF_SECRET": SECRET,
    }  # fmt: skip
    ended = run(tmp_path, env, "bff", "check", "--json")
    assert ended.code == 0, ended.text
    told = json.loads(ended.text)
    assert told["ready"] is True
    by_subject = {finding["subject"]: finding for finding in told["findings"]}
    assert by_subject["authentication"]["grade"] == "ok"
    assert by_subject["redirect URI"]["text"].endswith("/bff/callback")
    assert by_subject["discovery"]["area"] == f"provider {dev_provider.issuer}"


def test_bff_check_says_what_is_in_the_way(tmp_path: Path, dev_provider: DevProvider) -> None:
    """Exit code 1, naming the provider, the issuer's slash, its keys, and Redis."""
    nowhere = f"redis://127.0.0.1:{processes.free_port()}"
    base = {
        **dev_provider.settings(), "BFF_BASE_URL": "http://127.0.0.1:8080",
        "BFF_REDIS_URL": nowhere, "BFF_SECRET": SECRET,
    }  # fmt: skip
    nobody = f"http://127.0.0.1:{processes.free_port()}"
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({"BFF_ISSUER": nobody}, ["cannot be reached", "BFF_REDIS_URL"]),
        (
            {"BFF_ISSUER": f"{dev_provider.issuer}/"},
            ["issuer_mismatch", f"'{dev_provider.issuer}'", "to the letter"],
        ),
        ({"BFF_CLIENT_SECRET": "another"}, ["is refused (invalid_client)", "BFF_CLIENT_ID"]),
        ({"BFF_ID_TOKEN_ALG": "ES512"}, ["no key for ES512", "BFF_ID_TOKEN_ALG"]),
    ]  # fmt: skip
    for changes, words in cases:
        ended = run(tmp_path, {**base, **changes}, "bff", "check")
        assert ended.code == 1, ended.text
        assert "A login cannot work yet." in ended.text
        assert "Traceback" not in ended.text
        for word in words:
            assert word in ended.text, ended.text


async def test_any_asgi_server_serves_the_same(
    tmp_path: Path, start_provider: Callable[..., DevProvider], service_port: int, redis_url: str
) -> None:
    """`uvicorn --factory bff:create_app`: a visitor signs in."""
    base_url = f"http://127.0.0.1:{service_port}"
    env = {
        **start_provider().settings(), "BFF_BASE_URL": base_url, "BFF_REDIS_URL": redis_url,
        "BFF_SECRET": SECRET,
    }  # fmt: skip
    process = start(
        ["uvicorn", "--factory", "bff:create_app", "--port", str(service_port)],
        tmp_path / "log", environment(env, tmp_path), tmp_path,
    )  # fmt: skip
    try:
        wait_for(f"{base_url}/bff/readyz", process)
        async with UserAgent(base_url) as browser:
            await sign_in(browser)
            assert await signed_in(browser)
    finally:
        process.stop()


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_lets_requests_finish_and_ends_well(tmp_path: Path, workers: int) -> None:
    """Exit code 0, the answer under way is whole, and nothing listens afterwards."""
    with open_site(tmp_path, workers=workers) as site:
        process = site.service.process
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            slow = asyncio.create_task(client.get(f"{site.base_url}/open/slow"))
            assert await asyncio.to_thread(site.upstream.slow_began.wait, 10)
            process.popen.send_signal(signal.SIGTERM)
            answer = await slow
            assert (answer.status_code, answer.json()) == (200, {"said": "hello"})
        assert await asyncio.to_thread(process.popen.wait, 15) == 0
        assert len(site.service.events("service.stopping")) == workers
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{site.base_url}/bff/healthz")


async def test_a_second_signal_is_not_needed(
    run_service: RunService, dev_provider: DevProvider
) -> None:
    """Idle keep-alive connections do not hold the end up."""
    service = run_service(dev_provider.settings())
    async with UserAgent(service.base_url) as browser:
        await browser.fetch("/bff/session")
        assert await asyncio.to_thread(service.process.stop, 5.0) == 0
