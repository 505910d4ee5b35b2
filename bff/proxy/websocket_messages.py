"""A WebSocket under a server that shows whole messages only, which is all that ASGI knows.

`bff serve` and `server_options` need none of this: there bytes pass as they are (`relay`). Under
another server pings end at each side, fragments are joined, and messages are held in memory, two
on the way to the browser and one on the way to the upstream; codes and reasons of closing pass.

Source: ASGI, WebSocket; RFC 6455 sections 5.5.1 and 7.4.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Send
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN
from websockets.protocol import Protocol as Frames

from bff.proxy.frames import BAD_GATEWAY, GOING_AWAY, NO_STATUS, NORMAL, Close
from bff.proxy.relay import ENDING_SECONDS, SESSION_ENDED
from bff.proxy.websocket_client import UpstreamSocket

_UNSAID = frozenset({NO_STATUS, 1006, 1015})


class MessageRelay(asyncio.Protocol):
    """Carries messages between an ASGI server and the socket of an upstream."""

    def __init__(self, upstream: UpstreamSocket, max_message: int) -> None:
        self._transport = upstream.transport
        self._frames = Frames(CLIENT, state=OPEN, max_size=max_message)
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._parts: list[bytes] = []
        self._text = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = asyncio.Event()
        self.reason = "closed"
        upstream.transport.set_protocol(self)
        upstream.transport.resume_reading()
        if upstream.early:
            self.data_received(upstream.early)

    def end_session(self) -> None:
        """Close both ends, since the session has ended."""
        self.reason = "session_ended"
        self._over.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Carry messages until a side closes."""
        up = asyncio.create_task(self._up(receive))
        down = asyncio.create_task(self._down(send))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((up, down, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down, over):
                task.cancel()
            await asyncio.gather(up, down, over, return_exceptions=True)
            self._close(GOING_AWAY, "")
            self._transport.close()
            asyncio.get_running_loop().call_later(ENDING_SECONDS, self._transport.abort)
        if self._over.is_set():
            await send(_closing(SESSION_ENDED))

    def data_received(self, data: bytes) -> None:
        """Take frames from the upstream."""
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        if self._frames.parser_exc is not None:
            sent = self._frames.close_sent
            self._heard.put_nowait(_closing(Close(sent.code if sent else BAD_GATEWAY)))
        if self._heard.qsize() > 1:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the upstream is gone."""
        del exc
        self._writable.set()
        self._heard.put_nowait(_closing(Close(BAD_GATEWAY, "the connection was lost")))

    def pause_writing(self) -> None:
        """Hear that the upstream is slow."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Hear that the upstream has caught up."""
        self._writable.set()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = self._frames.close_rcvd
            code = NORMAL if close is None or close.code in _UNSAID else close.code
            self._heard.put_nowait(_closing(Close(code, close.reason if close else "")))
        elif frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                kind = {"text": whole.decode(errors="replace")} if self._text else {"bytes": whole}
                self._heard.put_nowait({"type": "websocket.send", **kind})

    async def _up(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            if text is None:
                self._frames.send_binary(message["bytes"])
            else:
                self._frames.send_text(text.encode())
            self._flush()
            await self._writable.wait()
        code = message.get("code") or NO_STATUS
        self._close(NORMAL if code in _UNSAID else code, message.get("reason") or "")

    async def _down(self, send: Send) -> None:
        while True:
            message = await self._heard.get()
            await send(message)
            if message["type"] == "websocket.close":
                return
            if self._heard.empty() and not self._transport.is_closing():
                self._transport.resume_reading()

    def _close(self, code: int, reason: str) -> None:
        if self._frames.close_sent is None and self._frames.parser_exc is None:
            self._frames.send_close(code, reason)
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data and not self._transport.is_closing():
            self._transport.write(data)


def _closing(close: Close) -> Message:
    return {"type": "websocket.close", "code": close.code, "reason": close.reason}
