"""Tokens in fewer bytes: base64url is a third longer than what it says. Pure.

A token is cut at its dots. A part that is canonical base64url without padding (RFC 7515, section 2)
is kept as the bytes it stands for, any other as its text, so that every token comes back letter by
letter, whether it is a JWT or not.

Layout: how many parts (1 byte; 0: no token), then each with its length and whether it was decoded
(3 bytes: length * 2 + 1 if decoded).
"""

from __future__ import annotations

from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from collections.abc import Container, Iterable

from bff.base64url import base64url

MAX_PARTS = 255
HEAD = 3
# What is of the other alphabet becomes what is of none.
FROM_URL = bytes.maketrans(b"-_+/", b"+/-_")


def pack(tokens: Iterable[str | None]) -> bytes:
    """Return several tokens as bytes."""
    pieces: list[bytes] = []
    for token in tokens:
        parts = [] if token is None else token.split(".")
        if len(parts) > MAX_PARTS and token is not None:
            parts = [token]
        pieces.append(len(parts).to_bytes(1, "big"))
        for part in parts:
            decoded = _decoded(part)
            kept = part.encode("utf-8", "surrogatepass") if decoded is None else decoded
            pieces += ((len(kept) * 2 + (decoded is not None)).to_bytes(HEAD, "big"), kept)
    return b"".join(pieces)


def unpack(packed: bytes, without: Container[int] = ()) -> list[str | None]:
    """Return the tokens that `pack` was given; of those `without` only whether there was one."""
    tokens: list[str | None] = []
    at = 0
    while at < len(packed):
        number = packed[at]
        at += 1
        parts: list[str] = []
        left_out = len(tokens) in without
        for _ in range(number):
            head = int.from_bytes(packed[at : at + HEAD], "big")
            if left_out:
                at += HEAD + head // 2
                continue
            kept = packed[at + HEAD : at + HEAD + head // 2]
            at += HEAD + len(kept)
            parts.append(base64url(kept) if head % 2 else kept.decode("utf-8", "surrogatepass"))
        tokens.append(".".join(parts) if number else None)
    return tokens


def _decoded(part: str) -> bytes | None:
    try:
        usual = part.encode("ascii").translate(FROM_URL)
        data = a2b_base64(usual + b"==")
    except (BinasciiError, UnicodeEncodeError):
        return None
    return data if b2a_base64(data, newline=False).rstrip(b"=") == usual else None
