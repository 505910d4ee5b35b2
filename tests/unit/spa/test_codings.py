"""Which compressed form a client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.spa.codings import choose_coding

BOTH = frozenset({"br", "gzip"})
TABLE: list[tuple[str | None, frozenset[str], str]] = [
    (None, BOTH, "identity"),
    ("", BOTH, "identity"),
    ("gzip, deflate, br, zstd", BOTH, "br"),
    ("gzip, deflate, br, zstd", frozenset({"gzip"}), "gzip"),
    ("gzip, br", frozenset(), "identity"),
    ("br;q=0.5, gzip;q=0.8", BOTH, "gzip"),
    ("br;q=0.5 , gzip ; q=0.500", BOTH, "br"),
    ("br;q=0, gzip", BOTH, "gzip"),
    ("br;q=0, gzip;q=0.000", BOTH, "identity"),
    ("*", BOTH, "br"),
    ("*;q=0.1", BOTH, "br"),
    ("*;q=0", BOTH, "identity"),
    ("br;q=0, *", BOTH, "gzip"),
    ("identity, *;q=0", BOTH, "identity"),
    ("identity;q=1, gzip;q=0.5", BOTH, "identity"),
    ("identity;q=0.5, gzip;q=0.5", BOTH, "gzip"),
    ("identity;q=0", BOTH, "identity"),
    ("GZIP;Q=1", BOTH, "gzip"),
    ("x-gzip", BOTH, "gzip"),
    ("brotli, gz", BOTH, "identity"),
    ("br;q=2, gzip;q=0.1", BOTH, "gzip"),
    ("br;level=9, gzip", BOTH, "gzip"),
    ("br;q=0.1234, gzip;q=nan", BOTH, "identity"),
    ("br;q=0, br;q=1", BOTH, "identity"),
    (", ,br,", BOTH, "br"),
]


@pytest.mark.parametrize(("accepts", "available", "chosen"), TABLE)
def test_the_best_form_that_the_client_takes(
    accepts: str | None, available: frozenset[str], chosen: str
) -> None:
    """Weights decide, then `br` before `gzip`; what cannot be read counts as unsaid."""
    assert choose_coding(accepts, available) == chosen


@given(st.none() | st.text(), st.sets(st.sampled_from(sorted(BOTH))))
def test_only_what_is_there_and_was_named_is_sent(accepts: str | None, available: set[str]) -> None:
    """No value makes the service send a form that it lacks, or that the client did not name."""
    chosen = choose_coding(accepts, available)
    assert chosen in available | {"identity"}
    if chosen != "identity":
        assert accepts is not None
        assert chosen in accepts.lower() or "*" in accepts
