"""What the doctor finds, and how it is put to a person or to a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text


class Grade(StrEnum):
    """How a finding is meant: only a fault keeps logins from working."""

    GOOD = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


STYLES = {
    Grade.GOOD: "green",
    Grade.NOTE: "cyan",
    Grade.WARNING: "yellow",
    Grade.FAULT: "bold red",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: in which area, what was found, and what to do about it."""

    grade: Grade
    subject: str
    text: str
    advice: str = ""
    area: str = ""


def in_area(area: str, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings as those of an area."""
    return [
        Finding(finding.grade, finding.subject, finding.text, finding.advice, area)
        for finding in findings
    ]


def ready(findings: Sequence[Finding]) -> bool:
    """Whether nothing that was found keeps a login from working."""
    return all(finding.grade is not Grade.FAULT for finding in findings)


def show(findings: Sequence[Finding]) -> None:
    """Print the findings for a person, a table an area."""
    console = Console(soft_wrap=True)
    for area, members in groupby(findings, lambda finding: finding.area):
        console.print(Text(area, style="bold"))
        table = Table("", "", Column(overflow="fold"), box=None, show_header=False)
        for finding in members:
            table.add_row(
                Text(finding.grade.value, style=STYLES[finding.grade]),
                Text(finding.subject),
                Text(finding.text),
            )
            if finding.advice:
                table.add_row("", "", Text(f"→ {finding.advice}", style=STYLES[finding.grade]))
        console.print(Padding(table, (0, 0, 1, 1), expand=False))
    works = ready(findings)
    console.print("A login can work." if works else "A login cannot work yet.", style="bold")


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for a program: `{"ready": ..., "findings": [...]}`."""
    listed = [{name: str(value) for name, value in asdict(finding).items()} for finding in findings]
    return json.dumps({"ready": ready(findings), "findings": listed}, indent=2)
