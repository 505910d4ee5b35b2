"""`docs/routes.md` knows every member of a route, and each of its examples is one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bff.proxy.route_members import MEMBERS
from bff.proxy.routes import parse_routes

PAGE = (Path(__file__).parents[3] / "docs" / "routes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_has_a_row(member: str) -> None:
    """In the table of members, with a meaning and a default."""
    assert re.search(rf"^\| `{member}` \| .{{10,}} \| .+ \|$", PAGE, re.MULTILINE)


def test_the_table_holds_no_member_that_does_not_exist() -> None:
    """A row that the program would refuse is worse than none."""
    table = PAGE.partition("## The members of a route")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(MEMBERS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted(example: str) -> None:
    """As it stands."""
    assert parse_routes(json.dumps(json.loads(example)))


def test_every_member_has_an_example_or_a_default() -> None:
    """Between them the examples use what has to be given in a form of its own."""
    used = {
        name
        for example in EXAMPLES
        for route in json.loads(example).values()
        if isinstance(route, dict)
        for name in route
    }
    assert {"upstream", "claims", "acr", "token_exchange", "pass_request_headers"} <= used
