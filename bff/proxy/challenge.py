"""Why an upstream answered 401: the error of its `WWW-Authenticate` challenge. Pure.

Rules: only a challenge of the scheme that a token was sent with counts, and only its `error`
parameter, read by the grammar and not by looking for words.

Source: RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9449 section 7.1.
"""

from __future__ import annotations

from collections.abc import Iterable

_SCHEMES = frozenset({"bearer", "dpop"})


def bearer_error(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the `error` of the first Bearer (or DPoP) challenge that names one."""
    for name, value in headers:
        if name == b"www-authenticate":
            scheme = ""
            for part in _parts(value.decode("latin-1")):
                left, equals, right = part.partition("=")
                words = left.split()
                if not words:
                    continue
                if len(words) > 1 or not equals:
                    scheme = words[0].lower()
                if equals and scheme in _SCHEMES and words[-1].lower() == "error":
                    return right.strip().strip('"')
    return None


def _parts(value: str) -> Iterable[str]:
    """Split at commas outside quoted strings."""
    part: list[str] = []
    quoted = escaped = False
    for character in value:
        if character == "," and not quoted:
            yield "".join(part)
            part = []
            continue
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        part.append(character)
    yield "".join(part)
