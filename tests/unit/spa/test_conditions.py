"""Preconditions and ranges, by the tables of RFC 9110 sections 13 and 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.spa.conditions import (
    Part,
    Unsatisfiable,
    Validators,
    http_date,
    is_current,
    wanted_part,
)

VERSION = Validators('"abc"', 1_700_000_000)
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
LATER = "Tue, 14 Nov 2023 22:13:21 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"


def test_dates_are_in_the_form_of_the_specification() -> None:
    """`Last-Modified` is an IMF-fixdate in GMT."""
    assert http_date(VERSION.modified) == DATE


@pytest.mark.parametrize(
    ("headers", "current"),
    [
        ({}, False),
        ({"if-none-match": '"abc"'}, True),
        ({"if-none-match": 'W/"abc"'}, True),
        ({"if-none-match": '"x", W/"y" ,"abc"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"abcd"'}, False),
        ({"if-none-match": "abc"}, False),
        ({"if-none-match": ""}, False),
        ({"if-none-match": '"x,\\"abc\\""'}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": LATER}, True),
        ({"if-modified-since": EARLIER}, False),
        ({"if-modified-since": "yesterday"}, False),
        ({"if-modified-since": ""}, False),
        ({"if-modified-since": "Tue, 14 Nov 99999 22:13:20 GMT"}, False),
        ({"if-none-match": '"x"', "if-modified-since": LATER}, False),
    ],
)
def test_a_client_that_has_the_version_is_told_so(headers: dict[str, str], current: bool) -> None:
    """Entity tags by weak comparison decide alone; the date only without them."""
    assert is_current(headers, VERSION) is current


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ({}, None),
        ({"range": "bytes=0-0"}, Part(0, 1)),
        ({"range": "bytes=0-9"}, Part(0, 10)),
        ({"range": "bytes=2-"}, Part(2, 8)),
        ({"range": "bytes=2-99"}, Part(2, 8)),
        ({"range": "bytes=-3"}, Part(7, 3)),
        ({"range": "bytes=-99"}, Part(0, 10)),
        ({"range": "Bytes=9-9"}, Part(9, 1)),
        ({"range": "bytes=5-2"}, None),
        ({"range": "bytes=-"}, None),
        ({"range": "bytes=0-1,3-4"}, None),
        ({"range": "bytes=a-b"}, None),
        ({"range": "bytes=0-1 x"}, None),
        ({"range": "bytes=+1-2"}, None),
        ({"range": "items=0-1"}, None),
        ({"range": "bytes=0-" + "9" * 30}, None),
        ({"range": "bytes=0-1", "if-range": '"abc"'}, Part(0, 2)),
        ({"range": "bytes=0-1", "if-range": 'W/"abc"'}, None),
        ({"range": "bytes=0-1", "if-range": '"x"'}, None),
        ({"range": "bytes=0-1", "if-range": DATE}, Part(0, 2)),
        ({"range": "bytes=0-1", "if-range": LATER}, None),
        ({"range": "bytes=99-", "if-range": '"x"'}, None),
    ],
)
def test_one_range_of_the_same_version_is_served(
    headers: dict[str, str], part: Part | None
) -> None:
    """A part of ten bytes, or the whole where the range is of another form or version."""
    assert wanted_part(headers, VERSION, 10) == part


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_served(value: str) -> None:
    """No byte is there: 416."""
    with pytest.raises(Unsatisfiable):
        wanted_part({"range": value}, VERSION, 10)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_part(value: str) -> None:
    """Every range of nothing is unsatisfiable."""
    with pytest.raises(Unsatisfiable):
        wanted_part({"range": value}, VERSION, 0)


@given(
    st.text() | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True), st.integers(0, 99)
)
def test_a_part_lies_within_the_file(value: str, size: int) -> None:
    """Whatever is asked for, a part is not empty and within the file."""
    try:
        part = wanted_part({"range": value}, VERSION, size)
    except Unsatisfiable:
        return
    if part is not None:
        assert part.length > 0
        assert 0 <= part.start <= part.start + part.length <= size


@given(st.text(), st.text())
def test_no_value_upsets_the_judgement(tag: str, date: str) -> None:
    """Any text in the fields is judged, never an error."""
    is_current({"if-none-match": tag}, VERSION)
    is_current({"if-modified-since": date}, VERSION)
    wanted_part({"range": "bytes=0-1", "if-range": date}, VERSION, 10)
