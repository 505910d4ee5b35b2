"""Request paths: which are safe to judge, and in which form they are. Pure.

Rules: a path is judged on the bytes that are sent on; whatever two readers could take for two
different paths is refused, not repaired: an encoded slash, a backslash, a dot segment, an empty
segment, a control character, a `%` that encodes nothing, an overlong encoding. What is left has one
form for matching: percent-encoded unreserved characters decoded, hexadecimal digits in capitals.

Source: RFC 3986 sections 2.3, 3.3 and 6.2.2; CVE lists of those who matched other forms.
"""

from __future__ import annotations

_UNRESERVED = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ALLOWED = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"\\#?")
_PCHAR = _UNRESERVED + b"!$&'()*+,;=:@/"
_HEX = b"0123456789ABCDEFabcdef"
_DOTS = frozenset({b".", b".."})
_SPACE = 0x20
_DELETE = 0x7F


class BadPath(Exception):  # noqa: N818 - the name of the contract's code
    """A path of a form that is refused. The text is a stable word for the log."""


def judge_path(raw_path: bytes) -> bytes:
    """Return the path in the form for matching. Raises BadPath for a dangerous one."""
    if not raw_path.startswith(b"/"):
        raise BadPath("not_absolute")
    if raw_path.translate(None, _ALLOWED):
        raise BadPath("forbidden_character")
    if b"//" in raw_path:
        raise BadPath("empty_segment")
    if b"%" not in raw_path:
        _judge_segments(raw_path)
        return raw_path
    judged, decoded = _decode(raw_path)
    _judge_segments(decoded)
    return judged


def canonical_prefix(prefix: str) -> bytes:
    """Return a configured prefix in the form for matching, no slash at its end.

    What a path may hold as it is stands decoded; what it may not is percent-encoded as UTF-8.
    Raises BadPath for a dangerous one.
    """
    raw = b"".join(
        bytes((byte,)) if byte in _ALLOWED else b"%%%02X" % byte for byte in prefix.encode()
    )
    decoded = decode_path(judge_path(raw))
    if b";" in decoded:
        raise BadPath("parameters")
    return b"".join(
        bytes((byte,)) if byte in _PCHAR else b"%%%02X" % byte for byte in decoded.rstrip(b"/")
    )


def decode_path(judged: bytes) -> bytes:
    """Return a judged path as an upstream sees it that decodes everything, once."""
    return _decode(judged)[1] if b"%" in judged else judged


def without_parameters(decoded: bytes) -> bytes:
    """Return a decoded path as an upstream sees it that drops `;` parameters from segments."""
    return b"/".join(segment.partition(b";")[0] for segment in decoded.split(b"/"))


def _decode(path: bytes) -> tuple[bytes, bytes]:
    head, *rest = path.split(b"%")
    judged = [head]
    decoded = [head]
    for part in rest:
        digits, tail = part[:2], part[2:]
        if len(digits) != len(b"00") or digits.translate(None, _HEX):
            raise BadPath("malformed_encoding")
        byte = int(digits, 16)
        character = bytes((byte,))
        if byte < _SPACE or byte == _DELETE:
            raise BadPath("encoded_control_character")
        if character in {b"/", b"\\"}:
            raise BadPath("encoded_slash")
        judged.append(character if character in _UNRESERVED else b"%" + digits.upper())
        judged.append(tail)
        decoded.append(character)
        decoded.append(tail)
    whole = b"".join(decoded)
    if _overlong(whole):
        raise BadPath("overlong_encoding")
    return b"".join(judged), whole


def _judge_segments(decoded: bytes) -> None:
    if b"/." not in decoded and b"/;" not in decoded:
        return
    for segment in decoded[1:].split(b"/"):
        name, parameter, _ = segment.partition(b";")
        if name in _DOTS:
            raise BadPath("dot_segment")
        if parameter and not name:
            raise BadPath("empty_segment")


def _overlong(decoded: bytes) -> bool:
    """Whether a lax UTF-8 decoder would find ASCII in bytes that are not (RFC 3629 section 3)."""
    for lead, highest in ((b"\xc0", 0xBF), (b"\xc1", 0xBF), (b"\xe0", 0x9F), (b"\xf0", 0x8F)):
        place = decoded.find(lead)
        while place >= 0:
            if decoded[place + 1 : place + 2] and 0x80 <= decoded[place + 1] <= highest:  # noqa: PLR2004
                return True
            place = decoded.find(lead, place + 1)
    return False
