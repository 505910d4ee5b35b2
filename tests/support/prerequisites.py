"""What some tests need beside Python: got, or told in one line how to get it.

Rules: where `CI` is set a missing part fails every test that needs it; elsewhere those tests are
left out, and the summary says so in one line. Nothing is skipped in silence. Where several
processes share the tests, the first that asks for a part decides for all whether it is there.
Flow: a folder's conftest calls `require` from `pytest_collection_modifyitems` (trylast, so that
`-k` has chosen) and `part` from the fixture that hands it out; the conftest of all has the two
hooks below. A worker of pytest-xdist says what was left out with its last word.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Part = TypeVar("Part")
LEFT_OUT = pytest.StashKey[list[str]]()


class MissingError(Exception):
    """A part that is not here and could not be got; its text is one line that says how to."""


class Prerequisite(Generic[Part]):
    """A part that the tests of one folder need. `get` gets it, or raises MissingError."""

    def __init__(self, folder: Path, get: Callable[[], Part]) -> None:
        self._folder = folder
        self._get = get
        self._part: Part | None = None
        self._missing = "it was not asked for"

    def require(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Get the part if tests of the folder are to run; without it leave them out of `items`."""
        needing = [item for item in items if self._folder in item.path.parents]
        if not needing or config.getoption("collectonly"):
            return
        try:
            self._part = self._get_once(config)
        except MissingError as missing:
            self._missing = str(missing)
            if os.environ.get("CI"):
                return
            items[:] = [item for item in items if item not in needing]
            config.hook.pytest_deselected(items=needing)
            tests = f"{len(needing)} tests in tests/{self._folder.name}"
            left_out(config, f"{tests}: {self._missing}")

    def part(self) -> Part:
        """The part. Fails the test in one line when it is missing."""
        if self._part is None:
            pytest.fail(self._missing, pytrace=False)
        return self._part

    def _get_once(self, config: pytest.Config) -> Part:
        """Get it; of several processes one after the other, and none after one that could not."""
        if not hasattr(config, "workerinput"):
            return self._get()
        run = Path(config.getoption("basetemp")).parent
        verdict = run / f"missing-{self._folder.name}"
        with _locked(run / "prerequisites.lock"):
            if verdict.is_file():
                raise MissingError(verdict.read_text("utf-8"))
            try:
                return self._get()
            except MissingError as missing:
                verdict.write_text(str(missing), "utf-8")
                raise


def left_out(config: pytest.Config, line: str) -> None:
    """Have the summary say what was left out, and how to get it."""
    lines: list[str]
    if hasattr(config, "workeroutput"):
        lines = config.workeroutput.setdefault("left_out", [])
    else:
        lines = config.stash.setdefault(LEFT_OUT, [])
    if line not in lines:
        lines.append(line)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what a worker left out; one that crashed has said nothing."""
    for line in getattr(node, "workeroutput", {}).get("left_out", []):
        left_out(node.config, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it, each in one line."""
    for line in terminalreporter.config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(f"left out: {line}", yellow=True)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
