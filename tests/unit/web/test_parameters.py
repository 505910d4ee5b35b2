"""Parameters of queries and forms: read as the standard library reads them."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from bff.errors import Problem
from bff.web.service import MAX_FIELDS, query_pairs


def pairs(query: bytes) -> list[tuple[str, str]]:
    """Read a query."""
    return query_pairs(Request({"type": "http", "headers": [], "query_string": query}))


@given(st.text(alphabet="ab=&;+%4 1~/?#", max_size=30).map(str.encode))
@example(b"")
@example(b"=&a&=b&&c=")
@example(b"a=1=2&b==")
def test_they_are_what_the_library_reads(query: bytes) -> None:
    """Whether anything is escaped or not: names without values, empty ones, and such as repeat."""
    try:
        expected = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(Problem):
            pairs(query)
    else:
        assert pairs(query) == expected


@pytest.mark.parametrize("field", [b"a=1", b"a=%31", b""])
def test_there_may_be_only_so_many(field: bytes) -> None:
    """Escaped or not, empty or not."""
    assert len(pairs(b"&".join([field] * MAX_FIELDS))) in {0, MAX_FIELDS}
    with pytest.raises(Problem):
        pairs(b"&".join([field] * (MAX_FIELDS + 1)))


def test_what_is_not_ascii_is_no_query() -> None:
    """It is refused."""
    with pytest.raises(Problem):
        pairs("a=\u00e9".encode())
