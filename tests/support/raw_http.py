"""A client that sends exactly the bytes a test has, for what no well-behaved client would send."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


class NoEndError(Exception):
    """The server neither finished nor closed the connection; the text is what it said so far."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer. `rest` is what came after its body; names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes


async def said(
    base_url: str, data: bytes, patience: float = 8.0, tls: ssl.SSLContext | None = None
) -> bytes:
    """Send bytes on a connection of their own; return all that came until the server closed it.

    `tls` is whom an https server must be certified by. Raises NoEndError where the connection stays
    open for `patience` seconds.
    """
    parts = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    heard = bytearray()
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        try:
            async with asyncio.timeout(patience):
                with suppress(ConnectionError):
                    while chunk := await reader.read(65536):
                        heard += chunk
        except TimeoutError:
            raise NoEndError(bytes(heard[:2000])) from None
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return bytes(heard)


async def exchange(base_url: str, data: bytes, patience: float = 8.0) -> RawAnswer:
    """Send bytes that must get one answer, after which the server closes. Raises NoEndError."""
    return parse(await said(base_url, data, patience))


def parse(heard: bytes) -> RawAnswer:
    """Read the first answer in the bytes; ValueError where there is none."""
    head, found, rest = heard.partition(b"\r\n\r\n")
    if not found:
        raise ValueError(f"no answer in {heard[:200]!r}")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if headers.get("transfer-encoding") == "chunked":
        body, rest = dechunked(rest)
    else:
        length = int(headers.get("content-length", "0"))
        body, rest = rest[:length], rest[length:]
    return RawAnswer(int(first.split(" ")[1]), headers, body, rest)


def dechunked(data: bytes) -> tuple[bytes, bytes]:
    """Return the content of a chunked body, and what comes after it."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            return body, data.removeprefix(b"\r\n")
        body, data = body + data[:length], data[length + 2 :]


def request(
    target: str | bytes,
    *fields: str,
    method: str = "GET",
    host: str = "127.0.0.1",
    body: bytes = b"",
    version: str = "1.1",
) -> bytes:
    """Return a request whose connection is to be closed; the fields stand as they are given."""
    raw_target = target if isinstance(target, bytes) else target.encode("latin-1")
    lines = [f"Host: {host}", "Connection: close", *fields]
    head = "\r\n".join(lines).encode("latin-1")
    first = method.encode("latin-1") + b" " + raw_target + f" HTTP/{version}\r\n".encode()
    return first + head + b"\r\n\r\n" + body
