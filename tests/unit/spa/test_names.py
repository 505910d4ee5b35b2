"""From paths to names of files: what can never be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.spa.names import is_hidden, names_of

GOOD = {
    b"/": (),
    b"/app.js": ("app.js",),
    b"/docs/": ("docs", ""),
    b"/docs/a.b.c": ("docs", "a.b.c"),
    b"/a%20b.js": ("a b.js",),
    b"/%C3%A9.svg": ("\xe9.svg",),
    b"/.well-known/security.txt": (".well-known", "security.txt"),
    b"/@vite/client": ("@vite", "client"),
    b"/console.js": ("console.js",),
    b"/con-tact/company.js": ("con-tact", "company.js"),
}
NEVER = [
    b"", b"app.js", b"/..", b"/../etc/passwd", b"/a/../../etc/passwd", b"/%2e%2e/etc/passwd",
    b"/.%2e/x", b"/a/./b", b"//etc/passwd", b"/a//b", b"/a%2fb", b"/a%5cb", b"/a\\b", b"/%00",
    b"/index.html%00.js", b"/\x00", b"/%0a", b"/%7f", b"/%zz", b"/%", b"/%ff%fe", b"/%c0%ae/x",
    b"/.env", b"/.git/config", b"/a/.htpasswd", b"/%2egit/config", b"/.well-known/.secret",
    b"/a/.well-known/x", b"/.well-known", b"/.well-known-not/x", b"/.WELL-KNOWN/x",
    b"/C:/windows/win.ini", b"/c:", b"/app.js::$DATA", b"/app.js:stream", b"/NUL", b"/nul.txt",
    b"/aux", b"/a/COM1.js", b"/lpt9", b"/COM%C2%B9", b"/con .x", b"/CONIN$", b"/GIT~1/config",
    b"/app.js.", b"/app.js%20", b"/a./b", b"/a*", b"/a?", b"/a%22b", b"/a%7Cb", b"/a%3Cb",
]  # fmt: skip


@pytest.mark.parametrize(("path", "names"), GOOD.items())
def test_a_path_leads_to_names(path: bytes, names: tuple[str, ...]) -> None:
    """Segments are decoded once; `/` is the folder itself, a slash at the end an empty name."""
    assert names_of(path) == names


@pytest.mark.parametrize("path", NEVER)
def test_a_path_that_may_lead_elsewhere_leads_nowhere(path: bytes) -> None:
    """Dots, drives, devices, streams, short names, separators and controls in any spelling."""
    assert names_of(path) is None


@given(st.binary().map(lambda tail: b"/" + tail))
def test_names_are_plain_whatever_the_path(path: bytes) -> None:
    """No path gives a name that leaves its folder, hides, or means something to a file system."""
    names = names_of(path)
    if names is None:
        return
    for place, name in enumerate(names):
        assert not set(name) & set('/\\:*?"<>|\0')
        assert not name.startswith(".") or (place, name) == (0, ".well-known")
        assert name or place == len(names) - 1
        assert name == name.rstrip(". ")


@pytest.mark.parametrize(
    ("path", "hidden"),
    [(b"/.env", True), (b"/a/%2egit", True), (b"/.well-known/x", True), (b"/a.b", False),
     (b"/a:b", False), (b"/", False), (b"/%", True)],
)  # fmt: skip
def test_hidden_names_are_recognised(path: bytes, hidden: bool) -> None:
    """A name that begins with a dot, however it is spelled."""
    assert is_hidden(path) is hidden
