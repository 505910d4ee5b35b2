"""Base64 in the alphabet of URLs: the same text as the library gives."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from bff.base64url import base64url


@given(st.binary(max_size=100))
def test_it_is_what_the_library_writes(data: bytes) -> None:
    """But for the padding, which is left out."""
    assert base64url(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")
