"""What docs/standards.md claims: every module, trap, file and test that it names is there."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.modules import TRAPS_ARE, Module, modules, tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "standards.md").read_text("utf-8")
TEST = re.compile(r"`([a-z0-9_/]+\.py)::([a-z0-9_]+)(?:\[([^\]`]+)\])?`")
FILE = re.compile(r"`((?:bff|tests|docs|deploy)/[A-Za-z0-9_./-]+|\.[a-z]+[a-z./]*|[A-Z]+\.md)`")
STATES = {"met", "met with a setting", "partly met", "not met", "not done", "the operator's"}
WITH_TESTS = {"met", "met with a setting", "partly met"}


@cache
def module_of(file: str) -> Any:
    """Return a file of tests as a module."""
    return importlib.import_module(f"tests.{file.removesuffix('.py').replace('/', '.')}")


def cases(test: Any) -> set[str]:
    """Return the names of the cases of a test."""
    found = set[str]()
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names = mark.kwargs.get("ids") or mark.args[1]
            found |= set() if callable(names) else {name for name in names if isinstance(name, str)}
    return found


def assert_there(file: str, name: str, case: str | None = None) -> None:
    """Fail unless this test exists, with that case of it."""
    assert name.startswith("test_")
    test = getattr(module_of(file), name, None)
    assert callable(test), f"{file}::{name}"
    assert case is None or case in cases(test), f"{file}::{name}[{case}]"


@pytest.mark.parametrize("module", list(modules()), ids=lambda one: f"{one.plan} {one.name}")
def test_every_module_of_every_plan_has_its_test(module: Module) -> None:
    """A test that exists and drives a service at the provider that lies, or a reason for none."""
    if not module.test:
        assert module.why, "a module without a test says why"
        return
    found = TEST.fullmatch(f"`{module.test}`")
    assert found, module.test
    assert found[1].startswith("hostile/")
    assert_there(found[1], found[2], found[3])


def test_every_trap_has_its_test() -> None:
    """T1 to T20, each in a test of its name."""
    assert list(TRAPS_ARE) == [f"T{number}" for number in range(1, 21)]
    names = dir(module_of("hostile/test_traps.py"))
    missing = [
        trap
        for trap in TRAPS_ARE
        if not any(name.startswith(f"test_{trap.lower()}_") for name in names)
    ]
    assert missing == []


def test_the_page_has_the_tables_of_the_list() -> None:
    """`python -m tests.hostile.modules` prints what stands there."""
    assert tables() in PAGE


@pytest.mark.parametrize(("file", "name", "case"), sorted(set(TEST.findall(PAGE))))
def test_every_test_that_is_named_exists(file: str, name: str, case: str) -> None:
    """In the file that is said."""
    assert_there(file, name, case or None)


def test_every_file_that_is_named_exists() -> None:
    """Of the service, its tests and its documentation."""
    named = set(FILE.findall(PAGE))
    assert len(named) > 30
    assert [one for one in named if not (ROOT / one).exists()] == []


def requirement_rows() -> list[list[str]]:
    """Return the rows of all tables that say how a requirement is met."""
    rows = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if len(row) == 4 and row[1] != "state"]


@pytest.mark.parametrize("row", requirement_rows(), ids=lambda row: row[0])
def test_every_requirement_says_how_it_is_met(row: list[str]) -> None:
    """A state that has a name; where it is met a file, and a test that shows it."""
    requirement, state, where, shown = row
    assert requirement
    assert state in STATES
    assert where
    if state in WITH_TESTS:
        assert TEST.search(shown), requirement
    else:
        assert not TEST.search(shown), requirement


def test_no_requirement_is_there_twice() -> None:
    """And there are many."""
    names = [row[0] for row in requirement_rows()]
    assert len(names) == len(set(names))
    assert len(names) > 80
