"""Chromium for the tests: the one on PATH, else the system's package; none is ever downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.support.prerequisites import MissingError

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL_SECONDS = 300
COMMANDS = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"),
)


def find_chromium() -> str:
    """The path of a Chromium, installed first where this user may. Raises MissingError."""
    found = _on_path()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        _install()
        found = _on_path()
    if found is None:
        raise MissingError(
            "chromium is not here: `apt-get install chromium`, or any Chrome on PATH"
        )
    return found


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def _install() -> None:
    for command in COMMANDS:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return
        if done.returncode != 0:
            return
