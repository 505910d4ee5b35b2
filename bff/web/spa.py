"""The single-page application itself, from a folder (contract, BFF_SPA).

A file is served as it is; a navigation to a path without a file gets `index.html`; anything else is
404, so that a missing asset never looks like a page. Names come from the judged path, and a file is
served only if it lies in the folder after symbolic links are followed.
"""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from bff.errors import Code, Problem
from bff.web.pages import page, wants_page

POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
METHODS = frozenset({"GET", "HEAD"})


class SpaFolder:
    """Serves a built SPA."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._index = self._folder / "index.html"

    async def answer(self, request: Request, judged: str) -> Response:
        """Return the file for a judged path, the index for a navigation, or raise not_found."""
        if request.method not in METHODS:
            raise Problem(Code.METHOD_NOT_ALLOWED, "spa_method", headers=(("Allow", "GET, HEAD"),))
        found = await anyio.to_thread.run_sync(self._find, judged)
        if found is None:
            if not wants_page(request.headers):
                raise Problem(Code.NOT_FOUND, "no_such_file")
            found = self._index
        headers = {"Cache-Control": "no-cache"}
        if found.suffix == ".html":
            headers |= {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
        return FileResponse(found, headers=headers)

    def _find(self, judged: str) -> Path | None:
        name = unquote(judged).lstrip("/") or "index.html"
        candidate = (self._folder / name).resolve()
        if not candidate.is_relative_to(self._folder) or any(
            part.startswith(".") for part in candidate.relative_to(self._folder).parts
        ):
            return None
        try:
            regular = stat.S_ISREG(candidate.stat().st_mode)
        except (OSError, ValueError):
            return None
        return candidate if regular else None


def welcome(user_name: str | None) -> Response:
    """Return the small page at `/` where no SPA is configured."""
    return page("welcome.html", user_name=user_name)
