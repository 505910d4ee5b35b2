"""WebSocket frames as they pass: where each begins and ends, and whether it may pass. Pure.

Rules: what is followed goes on byte for byte, in whatever pieces it comes; a header, and a control
frame, only when it is whole and was judged, so that what went on ends inside nothing but a payload;
payloads are neither held nor read, only counted; a frame that breaks the protocol or a limit does
not go on, nor does anything after it, nor anything after a Close.

An extension is negotiated by the two ends. Only permessage-deflate is let through to them, so only
its bit may be set, and messages are counted as they are on the wire: nothing is inflated here.

Source: RFC 6455 sections 5.1 to 5.5 and 7.4; RFC 7692 section 6.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_STATUS = 1005
INVALID_DATA = 1007
TOO_BIG = 1009
SERVICE_RESTART = 1012
BAD_GATEWAY = 1014

_MAX_CONTROL = 125
_LENGTH_16 = 126
_LENGTH_64 = 127
_FIN = 0x80
_RSV = 0x70
_RSV1 = 0x40
_CONTROL = 0x08
_MASK_BIT = 0x80
_NO_CODES = frozenset({1004, NO_STATUS, 1006})
_REGISTERED = range(1000, 1015)
_FREE = range(3000, 5000)


class Opcode(enum.IntEnum):
    """What a frame is (RFC 6455 section 11.8)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES = frozenset(int(opcode) for opcode in Opcode)


class Close(NamedTuple):
    """Why a WebSocket is closed; code 1005 stands for a Close frame without one."""

    code: int
    reason: str = ""


class FrameFollower:
    """Follows the frames of one direction.

    `masked` tells that they come from a client. `max_message` is in bytes, over all frames of a
    message; `deflate` tells that permessage-deflate was agreed. After a Close frame `close` says
    what it said, after a violation `fault` says with which code its sender must be closed.
    """

    __slots__ = (
        "_deflate", "_held", "_in_message", "_left", "_mask_bit", "_max_message", "_size", "close",
        "fault",
    )  # fmt: skip

    def __init__(self, *, masked: bool, max_message: int, deflate: bool) -> None:
        self._mask_bit = _MASK_BIT if masked else 0
        self._max_message = max_message
        self._deflate = deflate
        self._held: bytes = b""
        self._left = 0
        self._in_message = False
        self._size = 0
        self.close: Close | None = None
        self.fault: Close | None = None

    @property
    def at_boundary(self) -> bool:
        """Whether what went on ends with a whole frame, so that a control frame may follow."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Return what may go on now."""
        if self.close is not None or self.fault is not None:
            return b""
        if self._left >= len(data):
            self._left -= len(data)
            return data
        if self._held:
            data = self._held + data
            self._held = b""
        position, self._left = self._left, 0
        end = len(data)
        while position < end:
            size = self._judge(data, position)
            if not size:
                if self.fault is None:
                    self._held = data[position:]
                break
            position += size
            if self.close is not None:
                break
            if self._left:
                taken = min(self._left, end - position)
                position += taken
                self._left -= taken
        return data if position == end else data[:position]

    def finish_frame(self, data: bytes) -> bytes:
        """Return what of `data` belongs to the frame that is under way, and nothing after it."""
        piece = data[: self._left]
        self._left -= len(piece)
        return piece

    def _judge(self, data: bytes, at: int) -> int:
        """Return the size of the data frame's header, or of the control frame, that begins here.

        0 where it is not all here yet, or is at fault. Sets how much payload follows a header.
        """
        here = len(data) - at
        if here < 2:  # noqa: PLR2004 - flags and opcode, mask bit and length
            return 0
        first, second = data[at], data[at + 1]
        length = second & 0x7F
        if not self._flags_allowed(first, second):
            return 0
        header = 2 + (4 if self._mask_bit else 0)
        if first & _CONTROL:
            size = header + length
            if here < size:
                return 0
            if first & 0x0F == Opcode.CLOSE:
                self._read_close(data[at + header : at + size], data[at + 2 : at + header])
            return 0 if self.fault else size
        if length >= _LENGTH_16:
            width = 2 if length == _LENGTH_16 else 8
            header += width
            if here < header:
                return 0
            length = int.from_bytes(data[at + 2 : at + 2 + width])
            shortest = _LENGTH_16 if width == 2 else 1 << 16  # noqa: PLR2004
            if length < shortest or length >> 63:
                return self._refuse(PROTOCOL_ERROR, "length")
        elif here < header:
            return 0
        size = self._size + length if self._in_message else length
        if size > self._max_message:
            return self._refuse(TOO_BIG, "message too big")
        self._size = size
        self._in_message = not first & _FIN
        self._left = length
        return header

    def _flags_allowed(self, first: int, second: int) -> bool:
        opcode = first & 0x0F
        control = opcode & _CONTROL
        if opcode not in _OPCODES:
            self._refuse(PROTOCOL_ERROR, "opcode")
        elif second & _MASK_BIT != self._mask_bit:
            self._refuse(PROTOCOL_ERROR, "mask")
        elif control and (not first & _FIN or second & 0x7F > _MAX_CONTROL):
            self._refuse(PROTOCOL_ERROR, "control frame")
        elif not control and self._in_message is not (opcode == Opcode.CONTINUATION):
            self._refuse(PROTOCOL_ERROR, "fragment")
        elif first & _RSV and not (
            self._deflate and first & _RSV == _RSV1 and opcode in {Opcode.TEXT, Opcode.BINARY}
        ):
            self._refuse(PROTOCOL_ERROR, "reserved bit")
        return self.fault is None

    def _read_close(self, payload: bytes, key: bytes) -> None:
        if not payload:
            self.close = Close(NO_STATUS)
            return
        payload = masked(payload, key) if key else payload
        code = int.from_bytes(payload[:2])
        if len(payload) == 1 or code in _NO_CODES or not (code in _REGISTERED or code in _FREE):
            self._refuse(PROTOCOL_ERROR, "close code")
            return
        try:
            self.close = Close(code, payload[2:].decode())
        except UnicodeDecodeError:
            self._refuse(INVALID_DATA, "close reason")

    def _refuse(self, code: int, reason: str) -> int:
        self.fault = Close(code, reason)
        return 0


def masked(payload: bytes, key: bytes) -> bytes:
    """Return a payload masked, or unmasked, with a key of 4 bytes (RFC 6455 section 5.3)."""
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))


def control_frame(opcode: Opcode, payload: bytes, key: bytes | None = None) -> bytes:
    """Return a control frame; `key` masks it, as a client must. `payload`: at most 125 bytes."""
    first = _FIN | opcode
    if key is None:
        return bytes((first, len(payload))) + payload
    return bytes((first, _MASK_BIT | len(payload))) + key + masked(payload, key)


def close_frame(close: Close, key: bytes | None = None) -> bytes:
    """Return a Close frame. A reason is at most 123 bytes of UTF-8."""
    code, reason = close
    payload = b"" if code == NO_STATUS else code.to_bytes(2) + reason.encode()
    return control_frame(Opcode.CLOSE, payload, key)
