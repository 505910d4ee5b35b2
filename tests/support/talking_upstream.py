"""An upstream that also streams: events one by one, a body as it comes, and a WebSocket echo.

It runs in threads of the test process, and notes every request that reaches it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.threaded_server import QuietHandler, ThreadedServer, serving

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CLOSE = 8  # section 5.2
PATIENCE = 20.0


@dataclass(frozen=True)
class Received:
    """A request. Names of `fields` are as they came."""

    method: str
    target: str
    fields: list[tuple[str, str]]

    def field(self, name: str) -> list[str]:
        """Return the values of all fields of a name."""
        return [value for known, value in self.fields if known.lower() == name.lower()]


class TalkingUpstream(ThreadedServer):
    """`/.../events` says one event, and another once `go_on` is set; `/.../ws` echoes frames.

    `body_began` is set when the first byte of a request's body is here.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.requests: list[Received] = []
        self.go_on = threading.Event()
        self.body_began = threading.Event()


class _Handler(QuietHandler):
    server: TalkingUpstream

    def answer(self) -> None:
        self.server.requests.append(Received(self.command, self.path, self.headers.items()))
        with contextlib.suppress(ConnectionError):
            if "Upgrade" in self.headers and "Sec-WebSocket-Key" in self.headers:
                self.echo_frames()
            elif self.path.endswith("/events"):
                self.say_events()
            else:
                self.say(self.body())

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                self.server.body_began.set()
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(self.headers.get("Content-Length") or 0)
        first = self.rfile.read(min(length, 1))
        if first:
            self.server.body_began.set()
        return first + self.rfile.read(length - len(first))

    def say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Set-Cookie", "upstream=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say_events(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: one\n\n")
        self.server.go_on.wait(PATIENCE)
        self.wfile.write(b"data: two\n\n")

    def echo_frames(self) -> None:
        """Accept the handshake, and send back each small frame (RFC 6455 section 5.2)."""
        self.close_connection = True
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        opcode = None
        while opcode != CLOSE and (head := self.rfile.read(2)):
            opcode = head[0] & 0x0F
            length = head[1] & 0x7F
            mask = self.rfile.read(4)
            masked = self.rfile.read(length)
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
            self.wfile.write(bytes((head[0], length)) + payload)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the library's names


@contextlib.contextmanager
def talking_upstream() -> Iterator[TalkingUpstream]:
    """Run one."""
    with serving(TalkingUpstream()) as server:
        try:
            yield server
        finally:
            server.go_on.set()
