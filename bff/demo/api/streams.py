"""The long-lived endpoints: server-sent events and a WebSocket."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from bff.demo.api.problems import NO_STORE, ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from bff.demo.api.guard import Guard

MAX_TICKS = 30


async def stream(guard: Guard, request: Request) -> Response:
    """Send an event a second, `ticks` of them (1 to 30, by default 30); needs a login."""
    await guard.check(request.headers)
    text = request.query_params.get("ticks", str(MAX_TICKS))
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= MAX_TICKS):
        raise ApiError(400, "bad_request", "ticks must be between 1 and 30.")
    return StreamingResponse(_ticks(int(text)), headers=NO_STORE, media_type="text/event-stream")


async def _ticks(count: int) -> AsyncIterator[str]:
    for number in range(1, count + 1):
        if number > 1:
            await asyncio.sleep(1)
        yield f"id: {number}\nevent: tick\ndata: {json.dumps({'tick': number, 'of': count})}\n\n"


async def websocket(guard: Guard, socket: WebSocket) -> None:
    """Send every message back; needs a login at the handshake."""
    try:
        await guard.check(socket.headers)
    except ApiError as error:
        await socket.send_denial_response(error.response())
        return
    offered = socket.scope["subprotocols"]
    await socket.accept(offered[0] if offered else None)
    with suppress(WebSocketDisconnect):
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is not None:
                await socket.send_text(text)
            else:
                await socket.send_bytes(message["bytes"])
