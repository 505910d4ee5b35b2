"""Form encoding: the same text as the standard library's."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.form import form_encoded

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT)))
def test_it_is_what_urlencode_writes(fields: dict[str, str | list[str]]) -> None:
    """To the letter, for names and values of any text, one or several."""
    assert form_encoded(fields) == urlencode(fields, doseq=True)


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_what_was_written_is_read(fields: dict[str, str]) -> None:
    """A server that decodes it finds every field as it was."""
    assert dict(parse_qsl(form_encoded(fields), keep_blank_values=True)) == fields


def test_no_field_is_no_text() -> None:
    """Nothing is written for nothing, and a line end does not pass as harmless."""
    assert form_encoded({}) == ""
    assert form_encoded({"a": []}) == ""
    assert form_encoded({"a\n": "b\n"}) == "a%0A=b%0A"
