"""The single-page application itself, from a folder or from its dev server (contract, BFF_SPA).

From a folder, in this order:

1. GET and HEAD only.
2. A file is served as it is, `/` and `folder/` as the `index.html` there, `folder` by a redirect.
3. A navigation to anything else gets the start page, which knows what the path means; a script's
   request for it gets 404, so that a missing asset never looks like a page. So does everybody for
   names that begin with a dot.
4. What the client has is 304; a part that it asks for is 206, or 416.

Names with a content hash are kept by browsers for a year, everything else is asked for each time.
Pages get a strict policy. Nothing here waits for a disk on the event loop.

Source: RFC 9110 (semantics), RFC 9111 and RFC 8246 (caching), CSP Level 3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bff.errors import Code, Problem
from bff.spa.codings import IDENTITY
from bff.spa.conditions import Part, Unsatisfiable, http_date, is_current, wanted_part
from bff.spa.content_hash import has_content_hash
from bff.spa.csp import Sources, policy
from bff.spa.folder import INDEX, NONCE, SMALL, Folder, OpenFile
from bff.spa.media_types import is_document, media_type
from bff.spa.names import is_hidden, names_of
from bff.web.pages import page, wants_page

METHODS = frozenset({"GET", "HEAD"})
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
CHUNK = 262_144
_QUERY = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '#"<>\\^`{|}')

log = structlog.get_logger("bff.spa")


def _nowhere() -> Sequence[str]:
    return ()


class SpaFolder:
    """Serves a built SPA. `sign_out` tells the origins of the providers' sign-outs."""

    def __init__(
        self,
        folder: Path,
        added: Sources | None = None,
        sign_out: Callable[[], Sequence[str]] = _nowhere,
    ) -> None:
        self._folder = Folder(folder)
        self._added = added or {}
        self._sign_out = sign_out

    async def answer(self, request: Request, judged: bytes) -> Response:
        """Return the answer for a judged path. Raises Problem."""
        if request.method not in METHODS:
            raise Problem(Code.METHOD_NOT_ALLOWED, "spa_method", headers=(("Allow", "GET, HEAD"),))
        return await anyio.to_thread.run_sync(self._answer, request, judged)

    def _answer(self, request: Request, judged: bytes) -> Response:
        accepted = request.headers.get("accept-encoding")
        vary = "Accept-Encoding"
        names = names_of(judged)
        found = None
        if names is not None:
            if not names or not names[-1]:
                names = (*names[:-1], *INDEX)
            elif self._folder.is_folder(names):
                return _to_folder(request.scope)
            found = self._folder.open(names, accepted)
        if names is None or found is None:
            if is_hidden(judged) or not wants_page(request.headers):
                raise Problem(Code.NOT_FOUND, "no_such_file")
            names = INDEX
            found = self._folder.open(names, accepted)
            vary += ", Accept, Sec-Fetch-Mode"
        if found is None:
            raise Problem(Code.NOT_FOUND, "no_start_page")
        try:
            return self._describe(request, names, found, vary)
        except BaseException:
            found.close()
            raise

    def _describe(
        self, request: Request, names: Sequence[str], found: OpenFile, vary: str
    ) -> Response:
        kind = media_type(names[-1])
        headers = {
            "Cache-Control": IMMUTABLE if has_content_hash(names) else REVALIDATE,
            "Vary": vary,
        }
        nonce = secrets.token_urlsafe(16) if found.with_nonce else None
        if is_document(kind):
            headers |= self._for_document(nonce)
        if nonce is not None:
            # Another nonce each time: there is no version to compare, and no part to continue.
            content = found.read(0, found.size).replace(NONCE, nonce.encode())
            return _whole(request, found, content, {**headers, "Content-Type": kind})
        headers["ETag"] = found.version.etag
        headers["Last-Modified"] = http_date(found.version.modified)
        if is_current(request.headers, found.version):
            found.close()
            return Response(None, 304, headers)
        headers["Content-Type"] = kind
        part = None
        if found.coding == IDENTITY:
            headers["Accept-Ranges"] = "bytes"
            if request.method == "GET":
                try:
                    part = wanted_part(request.headers, found.version, found.size)
                except Unsatisfiable:
                    found.close()
                    return Response(
                        None,
                        416,
                        {"Content-Range": f"bytes */{found.size}", "Cache-Control": REVALIDATE},
                    )
        else:
            headers["Content-Encoding"] = found.coding
        start, length = part or Part(0, found.size)
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{found.size}"
        status = 200 if part is None else 206
        if request.method == "HEAD" or length <= SMALL:
            body = b"" if request.method == "HEAD" else found.read(start, length)
            found.close()
            return Response(body, status, {**headers, "Content-Length": str(length)})
        return Streamed(found, Part(start, length), status, headers)

    def _for_document(self, nonce: str | None) -> dict[str, str]:
        value = policy(self._added, nonce=nonce, sign_out=self._sign_out())
        headers = {
            "Content-Security-Policy": value,
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
        }
        if "frame-ancestors" not in self._added:
            headers["X-Frame-Options"] = "DENY"
        return headers


def _whole(request: Request, found: OpenFile, content: bytes, headers: dict[str, str]) -> Response:
    found.close()
    body = b"" if request.method == "HEAD" else content
    return Response(body, 200, {**headers, "Content-Length": str(len(content))})


def _to_folder(scope: Scope) -> Response:
    """Redirect to the folder with its slash, under which its page's own links are right."""
    query = quote(scope["query_string"], safe=_QUERY)
    location = scope["raw_path"].decode("ascii") + "/" + (f"?{query}" if query else "")
    return Response(None, 308, {"Location": location, "Cache-Control": REVALIDATE})


class Streamed(Response):
    """A large file, or a large part of one, in pieces that are read in threads."""

    def __init__(self, found: OpenFile, part: Part, status: int, headers: dict[str, str]) -> None:
        super().__init__(None, status, {**headers, "Content-Length": str(part.length)})
        self._found = found
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Where the file becomes shorter, the answer is cut short, never ended."""
        del scope
        left = asyncio.ensure_future(_departure(receive))
        place, rest = self._part
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            while rest and not left.done():
                length = min(rest, CHUNK)
                piece = await anyio.to_thread.run_sync(self._found.read, place, length)
                place, rest = place + length, rest - length
                await send({"type": "http.response.body", "body": piece, "more_body": rest > 0})
        except EOFError:
            log.warning("spa.broke_off", detail="a file became shorter while it was sent")
        finally:
            left.cancel()
            self._found.close()


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def welcome(user_name: str | None) -> Response:
    """Return the small page at `/` where no SPA is configured."""
    return page("welcome.html", user_name=user_name)


def for_dev_server(scope: Scope) -> Scope:
    """Return a request as the dev server may have it: where it only reads, without its cookies.

    None of them would reach the dev server; without ours, a link from another site opens the page
    as it does from a folder. Everything that may act keeps them, and with them the CSRF rule.
    """
    if scope["type"] != "http" or scope["method"] not in METHODS:
        return scope
    headers = [field for field in scope["headers"] if field[0] != b"cookie"]
    return {**scope, "headers": headers}
