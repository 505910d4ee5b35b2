"""A missing part fails its tests where CI is set, and is left out in one line elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node import Node, install
from tests.support.prerequisites import MissingError

ROOT = Path(__file__).parents[2]

CONFTEST = """
from pathlib import Path
import pytest
from tests.support.prerequisites import MissingError, Prerequisite

def get():
    with Path("asked").open("a") as asked:
        asked.write("x")
    if {missing}:
        raise MissingError("no cheese: `make cheese` gets it")
    return "cheese"

CHEESE = Prerequisite(Path(__file__).parent, get)

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    CHEESE.require(config, items)

@pytest.fixture
def cheese():
    return CHEESE.part()
"""


SUMMARY = """
from tests.support.prerequisites import pytest_terminal_summary, pytest_testnodedown
"""


def run(
    folder: Path, *, missing: bool, ci: str, only: str = "", workers: int = 0
) -> tuple[int, str]:
    """Run pytest on a folder with one test that needs cheese and one elsewhere that does not."""
    (folder / "conftest.py").write_text(SUMMARY)
    (folder / "needing").mkdir()
    (folder / "needing" / "conftest.py").write_text(CONFTEST.format(missing=missing))
    (folder / "needing" / "test_a.py").write_text("def test_eat(cheese): assert cheese == 'cheese'")
    (folder / "test_b.py").write_text("def test_drink(): pass")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", only, "."]
    if workers:
        command += ["-p", "xdist.plugin", "-n", str(workers), f"--basetemp={folder / 'temp'}"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CI": ci,
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def read_only(path: object, mode: int) -> bool:
    """Stands in for `os.access` on a file system where nothing can be written."""
    return mode != os.W_OK


def test_left_out_in_one_line(tmp_path: Path) -> None:
    """Outside CI the tests that need the part are left out, the rest pass, one line says why."""
    status, output = run(tmp_path, missing=True, ci="")
    assert status == 0
    assert "1 passed, 1 deselected" in output
    assert "left out: 1 tests in tests/needing: no cheese: `make cheese` gets it" in output


def test_workers_agree_and_say_it_once(tmp_path: Path) -> None:
    """Side by side one asks, all leave the same tests out, and the summary has one line."""
    status, output = run(tmp_path, missing=True, ci="", workers=3)
    assert status == 0
    assert "1 passed" in output
    assert output.count("left out: 1 tests in tests/needing: no cheese: `make cheese`") == 1
    assert (tmp_path / "asked").read_text() == "x"


@pytest.mark.parametrize("workers", [0, 2])
def test_ci_fails(tmp_path: Path, workers: int) -> None:
    """In CI a missing part fails the run with the same line."""
    status, output = run(tmp_path, missing=True, ci="true", workers=workers)
    assert status == 1
    assert "1 passed, 1 error" in output
    assert "no cheese: `make cheese` gets it" in output
    assert "left out" not in output


@pytest.mark.parametrize("ci", ["", "true"])
def test_what_is_there_is_handed_out(tmp_path: Path, ci: str) -> None:
    """With the part in place all tests run and nothing is said."""
    status, output = run(tmp_path, missing=False, ci=ci)
    assert status == 0
    assert "2 passed" in output
    assert "left out" not in output


def test_nothing_is_got_for_tests_that_do_not_run(tmp_path: Path) -> None:
    """Choosing other tests neither gets the part nor speaks of it."""
    status, output = run(tmp_path, missing=True, ci="true", only="drink")
    assert status == 0
    assert "cheese" not in output


def test_packages_that_cannot_be_fetched_are_told_in_one_line(tmp_path: Path) -> None:
    """A failing `npm ci` says npm's first line and what to do; a later success is remembered."""
    (tmp_path / "package-lock.json").write_text("{}")
    failing = Node(Path(sys.executable), ("sh", "-c", "echo npm error code EAI_AGAIN >&2; exit 1"))
    with pytest.raises(MissingError, match="code EAI_AGAIN") as caught:
        install(tmp_path, failing)
    assert "\n" not in str(caught.value)
    counting = "mkdir -p node_modules; echo x >> runs"
    working = Node(Path(sys.executable), ("sh", "-c", counting))
    assert install(tmp_path, working) == install(tmp_path, working) == tmp_path
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_read_only_tree_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tree can't be written, packages go to a folder of the user's cache."""
    source = tmp_path / "provider"
    source.mkdir()
    for name in ("package.json", "package-lock.json", "server.mjs"):
        (source / name).write_text("{}")
    monkeypatch.setattr(os, "access", read_only)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = install(source, Node(Path(sys.executable), ("sh", "-c", "mkdir node_modules")))
    assert tmp_path / "cache" in folder.parents
    assert (folder / "server.mjs").read_text() == "{}"
    assert not (source / "node_modules").exists()
