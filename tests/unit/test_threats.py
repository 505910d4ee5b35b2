"""The table of what went wrong elsewhere: whole, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "threats.md"
NAMED = re.compile(r"`([a-z0-9_/]+\.py)::([a-z0-9_]+)`")
HEADING = ["advisory", "what went wrong there", "what happens here", "test"]


def rows() -> list[list[str]]:
    """Return the cells of every row below a heading."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row != HEADING and not row[0].startswith("---")]


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_row_names_a_test_that_exists(row: list[str]) -> None:
    """Four cells, none of them empty; the last names files and tests, and nothing else."""
    assert len(row) == len(HEADING)
    assert all(row)
    named = NAMED.findall(row[3])
    assert named
    assert not NAMED.sub("", row[3]).strip(", ")
    for file, name in named:
        assert name.startswith("test_")
        assert name in names_in(file), f"{file}::{name}"


def test_no_advisory_is_there_twice() -> None:
    """One row each."""
    advisories = [row[0] for row in rows()]
    assert len(advisories) == len(set(advisories))
    assert len(advisories) > 60


def test_the_threat_model_leads_to_it() -> None:
    """Whoever reads SECURITY.md finds it."""
    assert "(docs/threats.md)" in (ROOT / "SECURITY.md").read_text("utf-8")
