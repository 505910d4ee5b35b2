"""The handshake with an upstream: what it is asked, and whether its 101 says yes. Pure.

Rules: subprotocols and permessage-deflate are offered as the browser offered them, and taken only
as offered; no other extension is, since frames are followed and another might give them another
meaning; whoever does not prove that it read the key has not agreed (RFC 6455 section 4.1).

Source: RFC 6455 sections 4.1, 9.1 and 11.3; RFC 7692 section 5.
"""

from __future__ import annotations

from typing import NamedTuple

from bff.proxy.headers import Headers
from bff.proxy.wire import TOKEN, RequestHead, UpstreamProtocolError, encode_head
from bff.websocket_server import accept_of

DEFLATE = b"permessage-deflate"
_OWN = b"sec-websocket-"
_PROTOCOL = b"sec-websocket-protocol"
_EXTENSIONS = b"sec-websocket-extensions"
_ACCEPT = b"sec-websocket-accept"


class Offer(NamedTuple):
    """What a browser would like: names of subprotocols, and offers of permessage-deflate."""

    subprotocols: tuple[bytes, ...] = ()
    deflate: tuple[bytes, ...] = ()


class Agreement(NamedTuple):
    """What an upstream agreed to; `deflate` is its whole answer about the extension."""

    subprotocol: bytes | None = None
    deflate: bytes | None = None


def read_offer(fields: Headers, *, extensions: bool = True) -> Offer:
    """Return what a handshake offers; without `extensions` none is passed on.

    Raises ValueError for a subprotocol that is no token.
    """
    subprotocols = _members(fields, _PROTOCOL)
    if any(name.translate(None, TOKEN) for name in subprotocols):
        raise ValueError("a subprotocol is not a token")
    deflate = (one for one in _members(fields, _EXTENSIONS) if _extension(one) == DEFLATE)
    return Offer(tuple(subprotocols), tuple(deflate) if extensions else ())


def encode_handshake(target: bytes, fields: Headers, offer: Offer, key: bytes) -> bytes:
    """Return the request; `fields` are all but those of the protocol. Raises ValueError."""
    own = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", key)]
    if offer.subprotocols:
        own.append((_PROTOCOL, b", ".join(offer.subprotocols)))
    if offer.deflate:
        own.append((_EXTENSIONS, b", ".join(offer.deflate)))
    others = [field for field in fields if not field[0].startswith(_OWN)]
    head = encode_head(RequestHead(b"GET", target, others + own), None)
    return head[:-2] + b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"


def judge_agreement(fields: Headers, offer: Offer, key: bytes) -> Agreement:
    """Return what a 101 agrees to; names are in lower case. Raises UpstreamProtocolError."""
    upgrades = _members(fields, b"upgrade")
    if [one.lower() for one in upgrades] != [b"websocket"]:
        raise UpstreamProtocolError("the 101 is not one to WebSocket")
    if b"upgrade" not in (one.lower() for one in _members(fields, b"connection")):
        raise UpstreamProtocolError("the 101 does not say Connection: Upgrade")
    if [value for name, value in fields if name == _ACCEPT] != [accept_of(key)]:
        raise UpstreamProtocolError("the 101 does not prove that the key was read")
    chosen = [value for name, value in fields if name == _PROTOCOL]
    if len(chosen) > 1 or not set(chosen) <= set(offer.subprotocols):
        raise UpstreamProtocolError("the 101 names a subprotocol that was not offered")
    extensions = _members(fields, _EXTENSIONS)
    if len(extensions) > 1 or (extensions and _extension(extensions[0]) != DEFLATE):
        raise UpstreamProtocolError("the 101 names an extension that was not offered")
    if extensions and not offer.deflate:
        raise UpstreamProtocolError("the 101 names an extension that was not offered")
    return Agreement(chosen[0] if chosen else None, extensions[0] if extensions else None)


def _members(fields: Headers, wanted: bytes) -> list[bytes]:
    """Return the members of a list field, which may stand several times."""
    members = (one for name, value in fields if name == wanted for one in value.split(b","))
    return [member for one in members if (member := one.strip(b" \t"))]


def _extension(member: bytes) -> bytes:
    return member.partition(b";")[0].strip(b" \t").lower()
