"""How figures are shown: plain tables for people, JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.measure import Sample

WIDTH = 100
COLUMNS = ("", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "memory MB")


@dataclass(frozen=True)
class Finding:
    """One result. `aim` in words; `met`: whether it is reached, None without an aim."""

    what: str
    value: float
    shown: str
    aim: str = ""
    met: bool | None = None

    @classmethod
    def ratio(cls, what: str, value: float) -> Finding:
        """Return a result that explains another."""
        return cls(what, value, f"{value:.2f}")

    @classmethod
    def at_least(cls, what: str, value: float, aim: float, shown: str = "{:.2f}") -> Finding:
        """Return a result that should not be less."""
        text = shown.format(value)
        return cls(what, value, text, f"at least {shown.format(aim)}", value >= aim)

    @classmethod
    def at_most(cls, what: str, value: float, aim: float, shown: str = "{:.2f}") -> Finding:
        """Return a result that should not be more."""
        text = shown.format(value)
        return cls(what, value, text, f"at most {shown.format(aim)}", value <= aim)


@dataclass
class Section:
    """What one mode found: how it was measured, a table, results."""

    name: str
    title: str
    how: str
    columns: Sequence[str] = COLUMNS
    rows: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    findings: list[Finding] = field(default_factory=list[Finding])
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    load_average: float = 0.0
    stolen: float = 0.0

    def add(self, name: str, middle: Sample, samples: Iterable[Sample]) -> None:
        """Add a row of the usual figures, and keep the samples they come from."""
        self.rows.append(
            (
                name,
                f"{middle.rate:,.0f}",
                f"{middle.p50:.2f}",
                f"{middle.p99:.2f}",
                f"{middle.cpu:.1f}",
                f"{middle.memory:.0f}",
            )
        )
        self.samples[name] = [one.record() for one in samples]

    def text(self) -> str:
        """Return it for people."""
        lines = [f"{self.title}", "-" * len(self.title), *textwrap.wrap(self.how, WIDTH), ""]
        lines += _aligned([self.columns, *self.rows] if self.rows else [])
        if self.findings:
            lines += [""] if self.rows else []
            lines += _aligned([_row(one) for one in self.findings])
        lines.append(
            f"load average of the machine at the end: {self.load_average:.1f}; taken away by its "
            f"host: {self.stolen:.1%} of the time in which a core was wanted"
        )
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "findings": {
                one.what: {"value": one.value, "aim": one.aim, "met": one.met}
                for one in self.findings
            },
            "samples": self.samples,
            "load_average": self.load_average,
            "stolen": self.stolen,
        }


def machine(facts: Mapping[str, str]) -> str:
    """Return the facts of the machine for people."""
    pairs = (f"{name} {value}" for name, value in facts.items() if value)
    return "\n".join(textwrap.wrap("Measured on: " + "; ".join(pairs) + ".", WIDTH))


def _row(finding: Finding) -> Sequence[str]:
    aim = f"aim: {finding.aim}" if finding.aim else ""
    met = {True: "reached", False: "NOT reached", None: ""}[finding.met]
    return (finding.what, finding.shown, aim, met)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set columns: the first from the left, figures from the right, words from the left."""
    if not rows:
        return []
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place == 0 or not _figures(rows, place) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _figures(rows: Sequence[Sequence[str]], place: int) -> bool:
    return all(row[place][:1].isdigit() or not row[place] for row in rows[1:] or rows)
