"""WebSocket frames as they pass: what is followed, what is refused, and in which pieces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import CLIENT, OPEN, SERVER
from websockets.protocol import Protocol as Reference

from bff.proxy.frames import (
    NO_STATUS,
    PROTOCOL_ERROR,
    TOO_BIG,
    Close,
    FrameFollower,
    Opcode,
    close_frame,
    control_frame,
    masked,
)

KEY = b"\x01\x02\x03\x04"
LIMIT = 100_000


def frame(
    first: int, payload: bytes = b"", *, key: bytes | None = None, width: int | None = None
) -> bytes:
    """Return a frame; `width` is that of the length, which may be more than it needs."""
    size = len(payload)
    if width is None:
        width = 1 if size < 126 else 2 if size < 65536 else 8
    mark = 0x80 if key is not None else 0
    if width == 1:
        length = bytes((mark | size,))
    else:
        length = bytes((mark | (126 if width == 2 else 127),)) + size.to_bytes(width)
    return bytes((first,)) + length + (key or b"") + (masked(payload, key) if key else payload)


def follower(*, from_client: bool = False, deflate: bool = False) -> FrameFollower:
    return FrameFollower(masked=from_client, max_message=LIMIT, deflate=deflate)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[one:other] for one, other in pairwise(points)]


@pytest.mark.parametrize("from_client", [True, False])
def test_whole_messages_pass_as_they_are(from_client: bool) -> None:
    """Text, binary, empty, long, fragmented with a ping between: byte for byte."""
    key = KEY if from_client else None
    data = b"".join(
        (
            frame(0x81, b"hello", key=key),
            frame(0x82, key=key),
            frame(0x82, b"x" * 126, key=key),
            frame(0x82, b"x" * 65_536, key=key),
            frame(0x01, b"frag", key=key),
            frame(0x89, b"ping", key=key),
            frame(0x00, b"ment", key=key),
            frame(0x80, b"ed", key=key),
            frame(0x8A, b"pong", key=key),
        )
    )
    one = follower(from_client=from_client)
    assert one.feed(data) == data
    assert one.at_boundary
    assert one.fault is None
    assert one.close is None


@pytest.mark.parametrize(
    ("from_client", "data"),
    [
        (True, frame(0x81, b"a")),
        (False, frame(0x81, b"a", key=KEY)),
        (False, frame(0x83, b"a")),
        (False, frame(0x8B, b"a")),
        (False, frame(0xC1, b"a")),
        (False, frame(0xA1, b"a")),
        (False, frame(0x91, b"a")),
        (False, frame(0xC9, b"a")),
        (False, frame(0x80, b"a")),
        (False, frame(0x01, b"a") + frame(0x81, b"b")),
        (False, frame(0x09, b"a")),
        (False, b"\x89\x7e\x00\x7e" + b"a" * 126),
        (False, frame(0x82, b"a", width=2)),
        (False, frame(0x82, b"a" * 200, width=8)),
        (False, b"\x82\x7f\x80" + b"\0" * 7),
        (False, frame(0x88, b"\x03")),
        (False, close_frame(Close(1004))),
        (False, close_frame(Close(1006))),
        (False, close_frame(Close(1015))),
        (False, close_frame(Close(2999))),
        (False, close_frame(Close(999))),
        (False, close_frame(Close(5000))),
    ],
)
def test_what_breaks_the_protocol_does_not_pass(from_client: bool, data: bytes) -> None:
    """1002, where a frame ends; what came before it has gone on, nothing after it does."""
    one = follower(from_client=from_client)
    good = frame(0x81, b"good", key=KEY if from_client else None)
    passed = one.feed(good + data + good)
    assert passed.startswith(good)
    assert good not in passed[len(good) :]
    assert one.fault is not None
    assert one.fault.code == PROTOCOL_ERROR
    assert one.at_boundary
    assert one.close is None
    assert one.feed(good) == b""


def test_a_reason_that_is_no_text_is_refused() -> None:
    """1007 (RFC 6455 section 8.1)."""
    one = follower()
    assert one.feed(frame(0x88, b"\x03\xe8\xff")) == b""
    assert one.fault is not None
    assert one.fault.code == 1007


def test_a_message_that_is_too_long_does_not_begin_to_pass() -> None:
    """One frame, or the fragment with which it becomes too long; messages do not add up."""
    one = follower()
    whole = frame(0x82, b"a" * LIMIT)
    assert one.feed(whole) == whole
    assert one.feed(whole) == whole
    assert one.feed(frame(0x82, b"a" * (LIMIT + 1))) == b""
    assert one.fault == Close(TOO_BIG, "message too big")
    one = follower()
    first = frame(0x02, b"a" * LIMIT)
    assert one.feed(first + frame(0x00)) == first + frame(0x00)
    assert one.feed(frame(0x80, b"a")) == b""
    assert one.fault is not None


def test_compressed_messages_pass_where_that_was_agreed() -> None:
    """The bit stands on the first frame of a message only."""
    one = follower(deflate=True)
    good = frame(0x41, b"a") + frame(0x80, b"b") + frame(0xC2, b"c")
    assert one.feed(good) == good
    assert one.feed(frame(0x41, b"a") + frame(0xC0, b"b")) == frame(0x41, b"a")
    assert one.fault is not None


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    "close", [Close(1000), Close(3000, "gr\u00fc\u00dfe"), Close(4999, "a" * 123), Close(NO_STATUS)]
)
def test_a_close_is_read_and_nothing_passes_after_it(key: bytes | None, close: Close) -> None:
    """Code and reason, masked or not; and none."""
    data = close_frame(close, key)
    one = follower(from_client=key is not None)
    assert one.feed(data + frame(0x81, b"late", key=key)) == data
    assert one.close == close
    assert one.feed(frame(0x81, b"late", key=key)) == b""


def test_headers_and_control_frames_are_held_until_they_are_whole() -> None:
    """So that what went on always ends with a whole frame, or within a payload."""
    one = follower(from_client=True)
    data = frame(0x82, b"a" * 300, key=KEY)
    for index in range(7):
        assert one.feed(data[index : index + 1]) == b""
        assert one.at_boundary
    assert one.feed(data[7:9]) == data[:9]
    assert not one.at_boundary
    assert one.finish_frame(data[9:] + b"next") == data[9:]
    assert one.at_boundary
    ping = control_frame(Opcode.PING, b"abc", KEY)
    assert one.feed(ping[:-1]) == b""
    assert one.feed(ping[-1:]) == ping


frames = st.lists(
    st.one_of(
        st.builds(
            frame,
            st.sampled_from([0x81, 0x82, 0x89, 0x8A, 0x01, 0x02, 0x00, 0x80, 0xC1, 0x88, 0x83]),
            st.one_of(st.binary(max_size=140), st.binary(min_size=124, max_size=130)),
            key=st.sampled_from([None, KEY]),
        ),
        st.builds(close_frame, st.builds(Close, st.integers(999, 5000), st.text(max_size=30))),
        st.binary(max_size=20),
    ),
    max_size=8,
).map(b"".join)


@given(frames, st.lists(st.integers(0, 2000), max_size=12), st.booleans(), st.booleans())
def test_any_split_gives_the_same(
    data: bytes, cuts: list[int], from_client: bool, deflate: bool
) -> None:
    """The same bytes go on, the same fault or Close is found, however the bytes come."""
    whole = follower(from_client=from_client, deflate=deflate)
    pieces = follower(from_client=from_client, deflate=deflate)
    once = whole.feed(data)
    assert once == data[: len(once)]
    assert b"".join(pieces.feed(piece) for piece in split(data, cuts)) == once
    assert (pieces.close, pieces.fault) == (whole.close, whole.fault)
    assert pieces.at_boundary == whole.at_boundary


@dataclass
class Heard:
    """What a reference parser makes of a stream."""

    frames: list[tuple[int, bytes]]
    failed: bool


def heard(data: bytes, *, from_client: bool) -> Heard:
    side = SERVER if from_client else CLIENT
    reference = Reference(side, state=OPEN, max_size=LIMIT)
    reference.receive_data(data)
    found = [event for event in reference.events_received() if isinstance(event, Frame)]
    return Heard(
        [(int(one.opcode), bytes(one.data)) for one in found], reference.parser_exc is not None
    )


@given(frames, st.booleans())
def test_what_passes_is_what_a_strict_reader_accepts(data: bytes, from_client: bool) -> None:
    """The `websockets` library finds no fault in what passed, and one where we found one.

    It joins nothing and takes what RFC 6455 allows, but for lengths that are longer than they need
    be, which it forgives.
    """
    one = follower(from_client=from_client)
    passed = one.feed(data)
    assert not heard(passed, from_client=from_client).failed
    theirs = heard(data, from_client=from_client)
    if theirs.failed:
        assert one.fault is not None or len(passed) < len(data)
    if one.close is not None:
        assert theirs.frames[-1][0] == TheirOpcode.CLOSE
