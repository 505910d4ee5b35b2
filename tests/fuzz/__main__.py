"""Fuzz one parser with coverage to lead the way, by atheris:

python -m tests.fuzz TARGET [libFuzzer options, such as -max_total_time=600]

Atheris is not among the dependencies, since it is used by hand: `uv pip install atheris` first.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Run until the time is over, or something is found."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["bff"]):
        from tests.fuzz.targets import BY_NAME
    if len(sys.argv) < 2 or sys.argv[1] not in BY_NAME:
        raise SystemExit(f"usage: python -m tests.fuzz {{{','.join(BY_NAME)}}} [options]")
    target = BY_NAME[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-timeout=5", "-rss_limit_mb=2048", corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
