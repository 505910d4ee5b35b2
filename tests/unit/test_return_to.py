"""Where a login may lead: the addresses that a browser would take elsewhere, and all the others."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.return_to import HOME, MAX_LENGTH, safe_return_to
from tests.support.whatwg import Resolved, resolve

ORIGIN = "https://app.example.com"

KEPT = [
    "/",
    "/orders",
    "/orders/",
    "/orders/17?page=2&sort=date#row-3",
    "/orders?",
    "/#/route/inside",
    "/a/b.c/~d/e;f=1,g/@h/(i)!$&'*+=:",
    "/?next=//evil.example/../x",
    "/100%25",
    "/a%20b",
    "/bffalo",
    "/my/bff/inside",
    "/...",
    "/.well-known/x",
    "/a/..b",
    "/%7Euser",
]

REFUSED = [
    None,
    "",
    " /orders",
    "orders",
    "?a=b",
    "#a",
    ".",
    "../",
    "https://evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    "/\x00/evil.example",
    "/a//evil.example",
    "/a//",
    "/.//evil.example",
    "/..//evil.example",
    "/a/..//evil.example",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/.",
    "/%2e%2e/a",
    "/%2E/a",
    "/.%2e/a",
    "/a/..;x=1/b",
    "/a/%2e%2e;x/b",
    "/%2f/evil.example",
    "/%2F%2Fevil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%00",
    "/%7f",
    "/%",
    "/%2",
    "/%zz",
    "/a\x7f",
    "/a\x85",
    "/a?b=\\c",
    "/a#\x01",
    "/bff",
    "/bff/login",
    "/bff/logout?go=x",
    "/BFF/logout",
    "/b%66f/logout",
    "/%62%66%66/logout",
    "/%42FF/logout",
    "/bff#x",
    f"/{'a' * MAX_LENGTH}",
    "/\ud800",
    "/?a=\udfff",
]


@pytest.mark.parametrize("value", KEPT)
def test_an_address_on_this_origin_is_kept_as_it_is(value: str) -> None:
    """A path with query and fragment, as an SPA writes it, comes back unchanged."""
    assert safe_return_to(value) == value


@pytest.mark.parametrize("value", REFUSED)
def test_a_doubtful_address_becomes_the_start_page(value: str | None) -> None:
    """What leads elsewhere, or could be read in two ways, is replaced and not repaired."""
    assert safe_return_to(value) == HOME


def test_what_browsers_would_encode_is_encoded() -> None:
    """Spaces, quotes and letters beyond ASCII are written so that every parser agrees."""
    written = safe_return_to('/caf\u00e9 "x"?q=\u20ac <b>#\u00e9 `')
    assert written == "/caf%C3%A9%20%22x%22?q=%E2%82%AC%20%3Cb%3E#%C3%A9%20%60"


ALPHABET = st.sampled_from(
    [
        *"/\\.%#?;:@&=+ abfBF256eE09cC\t\n\r\x00\x0b\x1f\x7f\x85\u2028\u2215\uff0f\uff0e\u3002",
        *["%2e", "%2F", "%5c", "%62", "..", "//", "bff", "evil.example", "https:", "\ud800"],
    ]
)
NASTY = st.lists(ALPHABET, max_size=16).map("".join)


@given(st.one_of(NASTY, NASTY.map("/".__add__), st.text(max_size=60)))
@example("/\\/evil.example")
@example("/.%2e//evil.example")
@example("/b\tff")
def test_no_string_leads_a_browser_elsewhere(value: str) -> None:
    """For any string: a browser stays on our origin, away from our own routes, on the same path."""
    written = safe_return_to(value)
    went = resolve(written, ORIGIN, "/bff/callback")
    assert went.origin == ORIGIN
    assert written.isascii()
    assert written.isprintable()
    assert " " not in written
    assert not went.path.startswith("//")
    assert unquote(went.path).lower().split("/")[1] != "bff"
    assert went.path == written.partition("#")[0].partition("?")[0]


@given(st.one_of(NASTY.map("/".__add__), st.text(max_size=40).map("/".__add__)))
def test_what_was_judged_once_is_good_again(value: str) -> None:
    """Judging an address a second time changes nothing."""
    written = safe_return_to(value)
    assert safe_return_to(written) == (written if len(written) <= MAX_LENGTH else HOME)


SEGMENT = st.text("abcdefXYZ019-_~", min_size=1, max_size=8)
REST = st.text("abcXYZ019-_~/?=&;:@!$'()*+,.", max_size=20)


@given(st.lists(SEGMENT, min_size=1, max_size=4), REST, REST)
def test_every_plain_path_is_kept(segments: list[str], query: str, fragment: str) -> None:
    """Paths of unreserved characters, with any plain query and fragment, are never refused."""
    value = "/" + "/".join(segments) + f"?{query}#{fragment}"
    assert safe_return_to(value) == (HOME if segments[0].lower() == "bff" else value)


@pytest.mark.parametrize(
    ("reference", "origin", "path"),
    [
        ("//evil", "https://evil", "/"),
        ("/\\evil", "https://evil", "/"),
        ("/\t/evil/a", "https://evil", "/a"),
        ("/a/../b", ORIGIN, "/b"),
        ("/a/%2E%2e/b", ORIGIN, "/b"),
        ("/a/.", ORIGIN, "/a/"),
        ("/a/b/..", ORIGIN, "/a/"),
        ("x", ORIGIN, "/d/x"),
        ("javascript:x", "javascript:x", ""),
    ],
)
def test_the_yardstick_reads_addresses_as_browsers_do(
    reference: str, origin: str, path: str
) -> None:
    """The parser of these tests goes where browsers go."""
    assert resolve(reference, ORIGIN, "/d/e") == Resolved(origin, path, "", "")
