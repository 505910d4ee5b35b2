"""Which names change with their content, and which only look a little like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.spa.content_hash import has_content_hash

HASHED = [
    # Vite 5 and later, Rollup, Rolldown: base64url
    "assets/index-B7PI925R.js", "assets/shared-ChJ_j-JJ.css", "assets/foo-BRBmoGS9.js",
    "assets/bar-gkvgaI9m.js", "assets/index-DiwrgTda.js", "assets/vendor-5UjPuW-k.mjs",
    "assets/index-B_x-9aQ1.js.map", "assets/logo-B2H3sXNv.png", "img/photo-CzAm2p9x.webp",
    "assets/inter-latin-C9xN4vQ2.woff2", "app-BRBmoGS9.js",
    # Vite 2 to 4, Parcel: hex
    "assets/name-4f3a9c21.js", "assets/index.4f3a9c21.css", "index.4f3a9c21.js",
    # webpack, Create React App
    "static/js/main.4f3a9c21.chunk.js", "static/js/787.4f3a9c21.bundle.js",
    "static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg", "6ce24c58023cc2f8fd88.wasm",
    "main.6ce24c58023cc2f8fd88.js", "main.4f3a9c21.css.map",
    # Angular and esbuild: base32
    "main-5H6XJ2QK.js", "styles-QDYHJ4ZW.css", "chunk-CHAOTXHB.js", "media/font-TL7AAJ3E.woff2",
]  # fmt: skip
PLAIN = [
    "index.html", "index-4f3a9c21.html", "assets/index-B7PI925R.htm", "favicon.ico", "robots.txt",
    "sw.js", "manifest.webmanifest", "app.js", "assets/app.js", "js/app-settings.js",
    "app-Settings.js", "user-UserList.js", "vendor-ReactDOM.js", "guide-Chapter1.pdf",
    "report-20240131.pdf", "report-2024-01-31.json", "photo-IMG_1234.jpg", "IMG_1234.jpg",
    "assets/IMG_1234.jpg", "app-deadbeef.js", "app-4f3a9c2.js", "4f3a9c21.js", "LICENSES.txt",
    "3rdparty-LICENSES.txt", "app-4F3A9C21X.png", "jquery-3.7.1.min.js", "a.4f3a9c21", "-4f3a9c21",
    "4f3a9c21", "assets/app-lowercas.js", "assets/guide-Chapter1.pdf", "app-.js", "-.js", ".js",
    "name-4f3a9c21.js.br.html", "site-iPhone15.png", "x-feed2024.png",
    "main.4f3a9c21.min.js", "app_4f3a9c21.js",
]  # fmt: skip


@pytest.mark.parametrize("path", HASHED)
def test_what_bundlers_write_is_kept(path: str) -> None:
    """Names as Vite, Rollup, webpack, Parcel, esbuild and Angular write them have a hash."""
    assert has_content_hash(path.split("/"))


@pytest.mark.parametrize("path", PLAIN)
def test_words_dates_and_numbers_are_no_hash(path: str) -> None:
    """A name that a person may have chosen, and every page, is asked for again."""
    assert not has_content_hash(path.split("/"))


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1), st.integers(0, 99_999_999))
def test_a_word_with_a_number_is_never_a_hash(word: str, number: int) -> None:
    """Numbered files are no hashed ones, whatever the number."""
    for name in (f"{word}-{number:08}.js", f"{word}{number}.css", f"x-{word}{number}.png"):
        assert not has_content_hash(["assets", name])


@given(st.text(min_size=1), st.sampled_from([".html", ".htm", ".HTML", ".xhtml"]))
def test_a_page_is_never_kept(name: str, extension: str) -> None:
    """Whatever its name, a page is asked for each time: it names everything else."""
    assert not has_content_hash([name + extension])
