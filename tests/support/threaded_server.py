"""What HTTP servers in threads of the test process have in common."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar


class ThreadedServer(ThreadingHTTPServer):
    """A server on a free port of this machine, which nobody waits for at its end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, handler: type[QuietHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class QuietHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1, and prints nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Print nothing."""
        del format, args


Server = TypeVar("Server", bound=ThreadedServer)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
