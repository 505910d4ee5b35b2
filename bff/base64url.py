"""Base64 in the alphabet of URLs, without padding (RFC 7515, section 2; RFC 4648, section 5). Pure.

The library's own way takes eight calls, this one four; a login writes a dozen such texts.
"""

from __future__ import annotations

from binascii import b2a_base64

TO_URL = bytes.maketrans(b"+/", b"-_")


def base64url(data: bytes) -> str:
    """Return bytes as text."""
    return b2a_base64(data, newline=False).translate(TO_URL, b"=").decode()
