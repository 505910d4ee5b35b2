"""Commands of ours, run to their end in a folder and environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """A command that has ended: both streams are in `text`."""

    code: int
    text: str


def environment(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return an environment without anything of the developer's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BFF_")}
    own = {"PYTHONPATH": str(ROOT), "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}
    return {**clean, **own, "COLUMNS": "200", "NO_COLOR": "1", **env}


def run(folder: Path, env: Mapping[str, str], *arguments: str, timeout: float = 60) -> Ended:
    """Run `python -m` with these arguments in `folder`, and wait for its end."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(env, folder),
        cwd=folder,
        timeout=timeout,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode())
