"""The WebSocket handshake with an upstream, by the `websockets` library.

Rules: the request target goes out as it is given, which `websockets.connect` would not do: it takes
URLs apart and drops `;` parameters; no proxy variables, no redirects, no compression; TLS is
verified; message sizes are bounded.

Source: RFC 6455 section 4.1.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from bff.proxy.headers import Headers
from bff.proxy.wire import (
    Address,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

MAX_MESSAGE = 16_777_216
MAX_QUEUE = 4
CLOSE_TIMEOUT = 1.0
_LIBRARYS_OWN = b"sec-websocket-"


async def connect(
    address: Address,
    target: bytes,
    fields: Headers,
    subprotocols: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109 - bounds two steps together
) -> ClientConnection:
    """Return an open WebSocket. `fields` are those of the handshake, but for the protocol's own.

    Raises InvalidStatus where the upstream answers with another status than 101, else
    UpstreamUnavailableError, UpstreamTimeoutError or UpstreamProtocolError.
    """
    secure = address.scheme == "https"
    protocol = ClientProtocol(
        WebSocketURI(secure, address.host, address.port, target.decode("ascii"), ""),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        max_size=MAX_MESSAGE,
    )
    connection = ClientConnection(protocol, close_timeout=CLOSE_TIMEOUT, max_queue=MAX_QUEUE)
    transport: asyncio.BaseTransport | None = None
    additional = [
        (name.decode("ascii"), value.decode("latin-1"))
        for name, value in fields
        if name != b"host" and not name.startswith(_LIBRARYS_OWN)
    ]
    try:
        async with asyncio.timeout(timeout):
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: connection,
                address.host,
                address.port,
                ssl=ssl.create_default_context() if secure else None,
                server_hostname=address.host if secure else None,
            )
            await connection.handshake(additional, user_agent_header=None)
    except BaseException as error:
        if transport is not None:
            connection.transport.abort()
        if isinstance(error, TimeoutError):
            raise UpstreamTimeoutError(f"no handshake within {timeout:g} s") from None
        if isinstance(error, InvalidHandshake) and not isinstance(error, InvalidStatus):
            raise UpstreamProtocolError(f"not a handshake: {type(error).__name__}") from None
        if isinstance(error, OSError | EOFError | ValueError):
            raise UpstreamUnavailableError(f"no connection: {type(error).__name__}") from None
        raise
    connection.start_keepalive()
    return connection
