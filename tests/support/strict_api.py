"""An upstream that looks at how the user signed in, and asks for more where it is not enough.

It reads `acr` and `auth_time` of the access token (RFC 9068 section 2.2.1) and challenges as
RFC 9470 section 3 says: at `/strong` for the strong `acr`, at `/recent` for a sign-in of the last
`RECENT` seconds, at `/odd` with what no URL should get. `/stale` is `invalid_token` to the first
token that comes there. It notes the claims of every token.
"""

from __future__ import annotations

import contextlib
import json
import time
from base64 import urlsafe_b64decode
from contextlib import AbstractContextManager
from typing import Any

from tests.support.threaded_server import QuietHandler, ThreadedServer, serving

STRONG = "urn:demo:acr:strong"
RECENT = 3


class StrictApi(ThreadedServer):
    """The upstream. `seen` are path and token claims of every request."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.stale: set[str] = set()


class _Handler(QuietHandler):
    server: StrictApi

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        claims = _claims(self.headers.get("Authorization") or "")
        self.server.seen.append((self.path, claims))
        error, wanted = "insufficient_user_authentication", _wanted(self.path, claims)
        if self.path.endswith("/stale"):
            self.server.stale = self.server.stale or {claims["jti"]}
            if claims["jti"] in self.server.stale:
                error, wanted = "invalid_token", 'error_description="too old"'
        body = json.dumps({"refused": wanted} if wanted else {"sub": claims["sub"]}).encode()
        self.send_response(401 if wanted else 200)
        if wanted:
            self.send_header("WWW-Authenticate", f'Bearer error="{error}", {wanted}')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the library's names


def _claims(authorization: str) -> dict[str, Any]:
    part = authorization.removeprefix("Bearer ").split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _wanted(path: str, claims: dict[str, Any]) -> str | None:
    if path.endswith("/strong") and claims["acr"] != STRONG:
        return f'acr_values="urn:never:heard {STRONG}"'
    if path.endswith("/recent") and time.time() - claims["auth_time"] > RECENT:
        return f'max_age="{RECENT}", scope="ignored"'
    if path.endswith("/odd"):
        return 'acr_values="a\tb&return_to=//evil.example", max_age="-1"'
    return None


def strict_api() -> AbstractContextManager[StrictApi]:
    """Run the upstream."""
    return serving(StrictApi())
