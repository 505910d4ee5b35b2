"""The service and what it needs, as processes of their own, for tests over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bff.sessions.embedded import find_server
from tests.support import ports

PATIENCE = 90.0
SECRET = "a secret for tests that is long enough " * 2
CLIENT_ID = "demo-spa-bff"
CLIENT_SECRET = "dev-secret:with/odd+chars %and=more"

free_port = ports.take


class DidNotStartError(Exception):
    """A process ended, or did not answer in time; the text has what it printed."""


@dataclass
class Process:
    """A child process; what it prints goes to a file."""

    popen: subprocess.Popen[bytes]
    output: Path

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def stop(self, patience: float = 15.0) -> int:
        """End it as an operator would, with SIGTERM; SIGKILL after `patience` seconds."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                raise
        return self.popen.returncode


def start(
    arguments: list[str],
    output: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start a child of this python; its output, both streams, goes to `output`."""
    # Without cached bytecode each process would compile every library again: two seconds of CPU.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BFF_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    with output.open("wb") as sink:
        popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**clean, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd or Path(__file__).parents[2],
            start_new_session=True,
        )
    return Process(popen, output)


def wait_for(url: str, process: Process, status: int = 200) -> None:
    """Wait until `url` answers with `status`. Raises DidNotStartError."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise DidNotStartError(f"{url}: exit code {process.popen.returncode}\n{process.text()}")
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == status:
                        return
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == status:
                    return
        time.sleep(0.03)
    raise DidNotStartError(f"{url}: no answer in {PATIENCE} s\n{process.text()}")


@dataclass
class Service:
    """A running `bff serve`."""

    base_url: str
    process: Process
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every line that it logged so far."""
        lines = self.process.text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Every log line of one event."""
        return [line for line in self.log if line.get("event") == name]

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        return self.process.stop()


@dataclass(frozen=True)
class DevProvider:
    """A running dev provider, registered for one service."""

    issuer: str
    audience: str
    process: Process
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET

    def settings(self) -> dict[str, str]:
        """Return the variables that point the service at this provider."""
        return {
            "BFF_ISSUER": self.issuer,
            "BFF_CLIENT_ID": self.client_id,
            "BFF_CLIENT_SECRET": self.client_secret,
            "BFF_SCOPES": "openid profile email offline_access orders:read",
        }


@contextlib.contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a Redis server of its own without persistence; give its URL."""
    port = port or free_port()
    process = subprocess.Popen(
        [find_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
         "no", "--dir", str(folder), "--logfile", str(folder / f"redis-{port}.log")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStartError("redis-server")
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


class Cast:
    """Starts what a flow needs, for as long as a stack of contexts is open."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, redis_url: str) -> None:
        self._stack = stack
        self._folder = folder
        self._redis_url = redis_url
        self._count = 0
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"

    def start(self, arguments: list[str], env: Mapping[str, str] | None = None) -> Process:
        """Start a child process; it is ended with the stack."""
        self._count += 1
        process = start(arguments, self._folder / f"process-{self._count}.log", env)
        self._stack.callback(process.stop)
        return process

    def provider(self, *options: str, port: int | None = None) -> DevProvider:
        """Start a dev provider that knows the service."""
        port = port or free_port()
        audience = "http://api.test.localhost"
        process = self.start(
            [
                "bff.demo.provider", "--port", str(port), "--audience", audience,
                "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET,
                "--redirect-uri", f"{self.base_url}/bff/callback",
                "--post-logout-redirect-uri", f"{self.base_url}/bff/logged-out",
                "--backchannel-logout-uri", f"{self.base_url}/bff/backchannel-logout", *options,
            ]
        )  # fmt: skip
        issuer = f"http://127.0.0.1:{port}"
        wait_for(f"{issuer}/.well-known/openid-configuration", process)
        return DevProvider(issuer, audience, process)

    def api(self, provider: DevProvider) -> str:
        """Start a demo API that believes a provider; return its address."""
        port = free_port()
        process = self.start(
            ["bff.demo.api", "--port", str(port), "--issuer", provider.issuer,
             "--audience", provider.audience]
        )  # fmt: skip
        wait_for(f"http://127.0.0.1:{port}/api/public", process)
        return f"http://127.0.0.1:{port}"

    def service(
        self, env: Mapping[str, str] | None = None, *, workers: int = 1, ready: bool = True
    ) -> Service:
        """Start the service; `env` adds to what every test needs."""
        everything = {
            "BFF_BASE_URL": self.base_url,
            "BFF_REDIS_URL": self._redis_url,
            "BFF_SECRET": SECRET.replace(" ", "-"),
            "BFF_LOG_FORMAT": "json",
            "BFF_LOG_LEVEL": "debug",
            "BFF_LOGIN_RATE_LIMIT": "1000/minute",
            **(env or {}),
        }
        arguments = ["bff", "serve", "--port", str(self.port), "--workers", str(workers)]
        process = self.start(arguments, everything)
        wait_for(f"{self.base_url}/bff/{'readyz' if ready else 'healthz'}", process)
        return Service(self.base_url, process, everything)
