"""What some tests need beside Python: got, or told in one line how to get it.

Rules: where `CI` is set a missing part fails every test that needs it; elsewhere those tests are
left out, and the summary says so in one line. Nothing is skipped in silence.
Flow: a folder's conftest calls `require` from `pytest_collection_modifyitems` (trylast, so that
`-k` has chosen), `part` from the fixture that hands it out, `report` from
`pytest_terminal_summary`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Part = TypeVar("Part")


class MissingError(Exception):
    """A part that is not here and could not be got; its text is one line that says how to."""


class Prerequisite(Generic[Part]):
    """A part that the tests of one folder need. `get` gets it, or raises MissingError."""

    def __init__(self, folder: Path, get: Callable[[], Part]) -> None:
        self._folder = folder
        self._get = get
        self._part: Part | None = None
        self._missing = "it was not asked for"
        self._left_out = 0

    def require(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Get the part if tests of the folder are to run; without it leave them out of `items`."""
        needing = [item for item in items if self._folder in item.path.parents]
        if not needing or config.getoption("collectonly"):
            return
        try:
            self._part = self._get()
        except MissingError as missing:
            self._missing = str(missing)
            if os.environ.get("CI"):
                return
            items[:] = [item for item in items if item not in needing]
            config.hook.pytest_deselected(items=needing)
            self._left_out = len(needing)

    def part(self) -> Part:
        """The part. Fails the test in one line when it is missing."""
        if self._part is None:
            pytest.fail(self._missing, pytrace=False)
        return self._part

    def report(self, reporter: pytest.TerminalReporter) -> None:
        """Say in one line what was left out and how to get it."""
        if self._left_out:
            tests = f"{self._left_out} tests in tests/{self._folder.name}"
            reporter.write_line(f"left out: {tests}: {self._missing}", yellow=True)
