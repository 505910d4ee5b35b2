"""`Cache-Control` of an answer that belongs to one session. Pure.

Rules: without a word from the upstream nothing is stored; its own word stands, but for what speaks
to shared caches: `public` and `s-maxage` are taken out, and `private` then stands. What cannot be
read is taken for `no-store`.

Source: contract, section 5; RFC 9111 section 5.2.2; RFC 9110 section 5.6.4 (quoted strings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

NO_STORE = b"no-store"
_SHARED = frozenset({b"public", b"s-maxage"})


def private_cache_control(values: Iterable[bytes]) -> bytes:
    """Return the value for the browser, from those that the upstream sent."""
    try:
        directives = [one for value in values for one in _directives(value)]
    except ValueError:
        return NO_STORE
    if not directives:
        return NO_STORE
    kept = [one for one in directives if _name(one) not in _SHARED]
    if len(kept) == len(directives):
        return b", ".join(directives)
    kept = [one for one in kept if _name(one) != b"private"]
    return b", ".join([b"private", *kept])


def _name(directive: bytes) -> bytes:
    return directive.partition(b"=")[0].strip(b" \t").lower()


def _directives(value: bytes) -> Iterator[bytes]:
    """Split at commas outside quoted strings. Raises ValueError for a string without end."""
    if b'"' not in value:
        yield from filter(None, (one.strip(b" \t") for one in value.split(b",")))
        return
    start = 0
    quoted = escaped = False
    for place, byte in enumerate(value + b","):
        if escaped:
            escaped = False
        elif quoted and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            quoted = not quoted
        elif byte == ord(",") and not quoted:
            if directive := value[start:place].strip(b" \t"):
                yield directive
            start = place + 1
    if quoted or start != len(value) + 1:
        raise ValueError("a quoted string does not end")
