"""The browser's side of WebSockets under uvicorn: the handshake, then the bare connection.

uvicorn's own protocols answer pings themselves, join fragments, inflate, and show an application
whole messages only. A proxy must pass all that on. This one speaks ASGI until the handshake is
answered; the application finds under `TUNNEL` among the scope's extensions what gives it the
connection after `websocket.accept`. An application that does not take it cannot be served.

Flow: head (judged before by the HTTP protocol), ASGI scope, refusal or 101, tunnel.

Source: RFC 6455 section 4.2; ASGI, WebSocket and WebSocket Denial Response.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from starlette.types import ASGIApp, Message
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

TUNNEL = "bff.tunnel"
MAX_EARLY = 65_536
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE = 16

Headers = list[tuple[bytes, bytes]]
log = logging.getLogger("uvicorn.error")


class Tunnel(asyncio.Protocol):
    """What takes a connection over, and can be told to stop."""

    def shut_down(self) -> None:
        """Hear that the service stops."""
        raise NotImplementedError


class WebSocketProtocol(asyncio.Protocol):
    """One connection whose client asked for a WebSocket. Give it as uvicorn's `ws`."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._app = cast("ASGIApp", config.loaded_app)  # pyright: ignore[reportUnknownMemberType]
        self._app_state = app_state
        self._connections: set[Any] = server_state.connections
        self._tasks = server_state.tasks
        self._loop = _loop or asyncio.get_running_loop()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._begun = self._accepted = self._closing = False
        self._key = b""
        self._refusal: tuple[int, Headers] | None = None
        self._body = b""
        self._early = b""
        self._end: Tunnel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection from the HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take the head, which uvicorn writes anew; then what the tunnel carries."""
        if self._end is not None:
            self._end.data_received(data)
        elif not self._begun:
            self._begun = True
            self._begin(data)
        else:
            self._early += data
            if len(self._early) > MAX_EARLY:
                self.transport.close()

    def eof_received(self) -> bool | None:
        """Hear that the client sends nothing more."""
        return None if self._end is None else self._end.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is closed."""
        self._connections.discard(self)
        self._closing = True
        if self._end is not None:
            self._end.connection_lost(exc)
        self._messages.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def pause_writing(self) -> None:
        """Hear that the client is slow."""
        if self._end is not None:
            self._end.pause_writing()

    def resume_writing(self) -> None:
        """Hear that the client has caught up."""
        if self._end is not None:
            self._end.resume_writing()

    def shutdown(self) -> None:
        """Begin to stop: called by uvicorn."""
        if self._end is not None:
            self._end.shut_down()
        else:
            self._answer(503, [], b"")

    def take(self, end: Tunnel) -> None:
        """Give the connection to `end`, after `websocket.accept`."""
        self._end = end
        end.connection_made(self.transport)
        if self._early:
            end.data_received(self._early)
        if self._closing:
            end.connection_lost(None)

    def _begin(self, head: bytes) -> None:
        first, *lines = head[:-4].split(b"\r\n")
        method, target, version = first.split(b" ")
        fields: Headers = []
        for line in lines:
            name, _, value = line.partition(b": ")
            fields.append((name, value))
        keys = [value.strip() for name, value in fields if name == b"sec-websocket-key"]
        versions = [value.strip() for name, value in fields if name == b"sec-websocket-version"]
        if method != b"GET" or version != b"HTTP/1.1" or len(keys) != 1 or not _is_key(keys[0]):
            self._answer(400, [], b"")
            return
        if versions != [b"13"]:
            self._answer(426, [(b"sec-websocket-version", b"13")], b"")
            return
        self._key = keys[0]
        self._messages.put_nowait({"type": "websocket.connect"})
        task = self._loop.create_task(self._run(self._scope(target, fields)))
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    def _scope(self, target: bytes, fields: Headers) -> dict[str, Any]:
        path, _, query = target.partition(b"?")
        root = self._config.root_path
        offered = (value for name, value in fields if name == b"sec-websocket-protocol")
        members = b",".join(offered).decode("latin-1").split(",")
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": root,
            "path": root + unquote(path.decode("ascii")),
            "raw_path": root.encode("ascii") + path,
            "query_string": query,
            "headers": fields,
            "subprotocols": [name for one in members if (name := one.strip(" \t"))],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, TUNNEL: self.take},
        }

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._messages.get, self._send)
        except Exception:
            log.exception("Exception in ASGI application")
        finally:
            # Whatever went wrong above, no client is left to wait.
            if self._end is None:
                self._answer(500, [], b"")

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._answer(403, [], b"")
        elif kind == "websocket.http.response.start":
            self._refusal = message["status"], list(message["headers"])
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._answer(*self._refusal, self._body)
        else:
            raise RuntimeError(f"{kind} cannot be sent here")

    def _accept(self, message: Message) -> None:
        fields: Headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", accept_of(self._key)),
            *message.get("headers", ()),
        ]
        if message.get("subprotocol"):
            fields.append((b"sec-websocket-protocol", message["subprotocol"].encode("latin-1")))
        self._accepted = True
        if not self._closing:
            self.transport.write(_head(101, fields))

    def _answer(self, status: int, fields: Headers, body: bytes) -> None:
        """Refuse the handshake, once."""
        if self._closing or self._accepted:
            self.transport.close()
            return
        self._closing = True
        framing = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        own = {name for name, _ in framing}
        kept = [field for field in fields if field[0] not in own]
        self.transport.write(_head(status, kept + framing) + body)
        self.transport.close()


def accept_of(key: bytes) -> bytes:
    """Return the proof that a key was read (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_SIZE
    except binascii.Error:
        return False


def _head(status: int, fields: Headers) -> bytes:
    """Return the head of an answer. Raises ValueError for a field that would not be read as one."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode()]
    for name, value in fields:
        if any(byte in name + value for byte in (b"\r", b"\n", b"\0")):
            raise ValueError("a field holds CR, LF or NUL")
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"
