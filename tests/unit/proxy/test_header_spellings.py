"""Names of fields that a backend may read as another name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.headers import REQUEST_FAMILIES, REQUEST_NAMES, Caller, OwnCookies, request_headers

CALLER = Caller(b"api", b"1.1 bff", b"192.0.2.7", b"https", b"app.example.com", b"request-one")
MARKS = "!#$%&'*+.^`|~_"


def passes(name: bytes) -> bool:
    """Whether a browser's field of this name reaches the upstream."""
    headers = request_headers(
        [(name, b"forged")], CALLER, authorization=None, own_cookies=OwnCookies(["bff"]),
        keep_cookies=False,
    )  # fmt: skip
    return b"forged" in dict(headers).values()


@pytest.mark.parametrize(
    "name",
    [b"x.forwarded.user", b"x-forwarded.user", b"x_forwarded_user", b"x~auth~request~user",
     b"remote.user", b"x.user", b"x|email", b"client.cert", b"forwarded", b"x.bff.key", b"x'roles",
     b"x-original.url", b"cf.access.jwt", b"dpop", b"x.id.token"],
)  # fmt: skip
def test_other_marks_do_not_make_a_name_harmless(name: bytes) -> None:
    """A backend that makes variables of names (CGI, PHP, WSGI) takes one for the other."""
    assert not passes(name)


@pytest.mark.parametrize("name", [b"x.app.version", b"accept", b"x-app-user", b"sec-fetch-site"])
def test_names_that_pretend_nothing_pass(name: bytes) -> None:
    """The marks themselves are no reason."""
    assert passes(name)


@given(
    st.sampled_from(sorted(REQUEST_NAMES) + [family + b"x" for family in REQUEST_FAMILIES]),
    st.lists(st.sampled_from(MARKS), min_size=8, max_size=8),
)
def test_no_spelling_of_a_refused_name_passes(name: bytes, marks: list[str]) -> None:
    """For all refused names and all marks in the place of their hyphens."""
    parts = name.decode().split("-")
    spelled = "".join(part + mark for part, mark in zip(parts, marks, strict=False))[:-1]
    assert not passes(spelled.encode())
