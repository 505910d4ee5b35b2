"""A large file on its way to a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.types import Message

from bff.spa.conditions import Part
from bff.spa.folder import Folder, OpenFile
from bff.web.spa import CHUNK, Streamed, for_dev_server


@pytest.fixture
def found(tmp_path: Path) -> OpenFile:
    """A file of eight pieces."""
    (tmp_path / "film.mp4").write_bytes(bytes(range(256)) * (8 * CHUNK // 256))
    opened = Folder(tmp_path).open(("film.mp4",), None)
    assert opened is not None
    return opened


async def test_a_client_that_leaves_ends_the_reading(found: OpenFile) -> None:
    """After its departure no further piece is read, and the file is closed."""
    sent: list[Message] = []
    left = asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            left.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    await Streamed(found, Part(0, found.size), 200, {})({}, receive, send)
    assert len(sent) == 3
    assert sent[-1]["more_body"] is True
    assert found.file.closed


async def test_a_part_is_sent_in_pieces(found: OpenFile) -> None:
    """Exactly the bytes of the part, none of them held longer than a piece."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    part = Part(100, 2 * CHUNK + 1)
    await Streamed(found, part, 206, {"Content-Range": "x"})({}, receive, send)
    start, *pieces = sent
    assert (b"content-length", b"%d" % part.length) in start["headers"]
    assert [len(piece["body"]) for piece in pieces] == [CHUNK, CHUNK, 1]
    whole = bytes(range(256)) * (8 * CHUNK // 256)
    assert b"".join(piece["body"] for piece in pieces) == whole[100 : 100 + part.length]
    assert [piece["more_body"] for piece in pieces] == [True, True, False]
    assert found.file.closed


def test_only_reading_goes_to_the_dev_server_without_cookies() -> None:
    """What may act keeps its cookies, and with them the CSRF rule."""
    fields = [(b"cookie", b"bff=x"), (b"accept", b"*/*"), (b"cookie", b"a=b")]
    for kind, method, kept in (
        ("http", "GET", 1), ("http", "HEAD", 1), ("http", "POST", 3), ("http", "OPTIONS", 3),
        ("websocket", "", 3),
    ):  # fmt: skip
        scope = {"type": kind, "method": method, "headers": list(fields)}
        assert len(for_dev_server(scope)["headers"]) == kept
        assert scope["headers"] == fields
