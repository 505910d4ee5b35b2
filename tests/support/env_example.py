"""Reads `.env.example`, and loads settings from lines like its own."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import mock

from bff.settings import Settings

ROOT = Path(__file__).parents[2]
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")

# A setting stands on a line of its own; a further example stands after a label in a comment.
SETTING_LINES: list[tuple[str, str, str]] = re.findall(
    r"^(#?)(BFF_[A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE
)
EXAMPLES: list[tuple[str, str]] = re.findall(
    r"^# {5}[\w ]+: +(BFF_[A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE
)
ASSIGNMENTS = [(name, value) for _, name, value in SETTING_LINES] + EXAMPLES


def load(tmp_path: Path, *lines: str) -> Settings:
    """Load settings from a `.env` of these lines, later ones winning, and from nothing else."""
    env_file = tmp_path / ".env"
    env_file.write_text("\n".join(lines), encoding="utf-8")
    with mock.patch.dict("os.environ", clear=True):
        return Settings.load(env_file=env_file)
