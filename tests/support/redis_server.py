"""A `redis-server` of a test's own, on loopback, ended by pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from bff.sessions.embedded import find_server
from tests.support import ports

PATIENCE = 60.0


class NotInTimeError(Exception):
    """Something that tests wait for did not come."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; an error of Redis means that it does not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        time.sleep(0.02)
    raise NotInTimeError(what)


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on, nor on those of their cluster bus."""
    return [ports.take() for _ in range(number)]


class Server:
    """A `redis-server` of its own; `settings` are lines of its configuration."""

    def __init__(self, folder: Path, port: int, settings: Sequence[str] = ()) -> None:
        self.port = port
        self.folder = folder / f"redis-{port}"
        self.folder.mkdir()
        self._sentinel = "sentinel" in " ".join(settings)
        lines = [f"port {port}", f"dir {self.folder}", "bind 127.0.0.1", *settings]
        if not self._sentinel:
            lines += ['save ""', "maxmemory-policy noeviction"]
        self._file = self.folder / "redis.conf"
        self._file.write_text("\n".join(lines) + "\n")
        self._popen: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> None:
        """Start, and do not wait."""
        with (self.folder / "log").open("ab") as log:
            self._popen = subprocess.Popen(
                [find_server(), str(self._file), *(["--sentinel"] if self._sentinel else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ask(self, *command: str | int, password: str | None = None) -> Any:
        """Send one command, over a connection of its own."""
        client: Any = redis.Redis(
            "127.0.0.1", self.port, socket_timeout=5, password=password, protocol=2
        )
        with contextlib.closing(client):
            return client.execute_command(*command)

    def wait(self) -> None:
        """Wait until it answers anything at all."""

        def answers() -> bool:
            assert self._popen is not None
            if self._popen.poll() is not None:
                raise NotInTimeError((self.folder / "log").read_text())
            try:
                self.ask("PING")
            except redis.AuthenticationError:
                return True
            return True

        wait_until(answers, f"redis-server on port {self.port}")

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL: it writes nothing more."""
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """End it, however it is."""
        assert self._popen is not None
        if self._popen.poll() is None:
            self.kill()
