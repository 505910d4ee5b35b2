"""What files are said to be."""

from __future__ import annotations

import pytest

from bff.spa.media_types import is_document, media_type

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.MJS": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "data.json": "application/json",
    "app.js.map": "application/json",
    "app.wasm": "application/wasm",
    "logo.svg": "image/svg+xml",
    "site.webmanifest": "application/manifest+json",
    "inter.woff2": "font/woff2",
    "inter.woff": "font/woff",
    "inter.ttf": "font/ttf",
    "favicon.ico": "image/x-icon",
    "robots.txt": "text/plain; charset=utf-8",
    "app.js.br": "application/octet-stream",
    "app.js.gz": "application/gzip",
    "LICENSE": "application/octet-stream",
    "apple-app-site-association": "application/json",
    "x.ts": "application/octet-stream",
    "x.": "application/octet-stream",
}


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
def test_a_name_has_a_type(name: str, kind: str) -> None:
    """By the service's own table, in any case of letters; what is unknown is bytes."""
    assert media_type(name) == kind


def test_what_can_run_scripts_when_opened_is_a_document() -> None:
    """Pages and vector images need a policy; scripts, styles and fonts do not."""
    assert [name for name in TYPES if is_document(media_type(name))] == ["index.html", "logo.svg"]
