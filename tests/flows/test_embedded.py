"""Without BFF_REDIS_URL and BFF_SECRET, on loopback: a Redis and a secret of the service's own."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import environment
from tests.support.processes import DevProvider, Process, start, wait_for
from tests.support.site import sign_in, signed_in
from tests.support.user_agent import UserAgent


@contextlib.contextmanager
def serving(
    folder: Path, provider: DevProvider, port: int, workers: int, log: str
) -> Iterator[Process]:
    """Run the service in its embedded mode; it must end well, if it has not ended already."""
    env = {
        **provider.settings(),
        "BFF_BASE_URL": f"http://127.0.0.1:{port}",
        "BFF_LOG_FORMAT": "json",
    }
    arguments = ["bff", "serve", "--port", str(port), "--workers", str(workers)]
    process = start(arguments, folder / log, environment(env, folder), folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/bff/readyz", process)
        yield process
    finally:
        code = process.stop()
    assert code in {0, -signal.SIGKILL}


def redis_servers(folder: Path) -> list[str]:
    """Return the command lines of Redis servers whose working folder is under this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                place = (entry / "cwd").readlink()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "redis-server" in command and place.is_relative_to(folder):
                found.append(command)
    return found


@pytest.mark.parametrize("workers", [1, 2])
async def test_sessions_live_through_a_restart_and_nothing_is_left_behind(
    tmp_path: Path, start_provider: Callable[..., DevProvider], service_port: int, workers: int
) -> None:
    """One Redis for all workers, with a warning; the cookie is good again after a restart."""
    provider = start_provider()
    async with UserAgent(f"http://127.0.0.1:{service_port}") as browser:
        with serving(tmp_path, provider, service_port, workers, "first.log") as first:
            await sign_in(browser)
            assert all([await signed_in(browser) for _ in range(6)])
            assert len(redis_servers(tmp_path)) == 1
        assert first.popen.returncode == 0
        assert redis_servers(tmp_path) == []
        with serving(tmp_path, provider, service_port, workers, "second.log") as second:
            assert all([await signed_in(browser) for _ in range(6)])
        assert second.popen.returncode == 0
    assert redis_servers(tmp_path) == []
    assert "store.embedded" in first.text()
    folder = tmp_path / "data" / "bff"
    assert (folder.stat().st_mode & 0o777) == 0o700
    assert ((folder / "secret").stat().st_mode & 0o777) == 0o600
    assert not list(folder.glob("secret.*"))
    assert (folder / "secret").read_text(encoding="ascii") not in first.text() + second.text()


async def test_a_worker_that_is_killed_takes_no_session_along(
    tmp_path: Path, start_provider: Callable[..., DevProvider], service_port: int
) -> None:
    """SIGKILL to everything at once; the next start finds the sessions that were written."""
    provider = start_provider()
    async with UserAgent(f"http://127.0.0.1:{service_port}") as browser:
        with serving(tmp_path, provider, service_port, 1, "first.log") as first:
            await sign_in(browser)
            first.popen.kill()
            first.popen.wait()
        with serving(tmp_path, provider, service_port, 1, "second.log"):
            assert await signed_in(browser)
    assert redis_servers(tmp_path) == []
