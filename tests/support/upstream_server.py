"""An upstream in a thread of the test process, which notes every request that reaches it."""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import AbstractContextManager

from tests.support.threaded_server import QuietHandler, ThreadedServer, serving


class UpstreamServer(ThreadedServer):
    """Answers 200 to everything; `/slow` after a second. `requests` are first lines and fields."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.slow_began = threading.Event()


class _Handler(QuietHandler):
    server: UpstreamServer

    def answer(self) -> None:
        self.server.requests.append((self.requestline, dict(self.headers.items())))
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path.endswith("/slow"):
            self.server.slow_began.set()
            time.sleep(1.0)
        body = b'{"said":"hello"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if "Transfer-Encoding" in self.headers:  # a body that was not read is in the way
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the library's names


def upstream_server() -> AbstractContextManager[UpstreamServer]:
    """Run an upstream."""
    return serving(UpstreamServer())
