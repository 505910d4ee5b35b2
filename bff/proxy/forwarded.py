"""Who is calling: the client's address, from the peer and `X-Forwarded-For`. Pure.

Rules: the peer's own address cannot be forged, so the walk begins there; `X-Forwarded-For` is read
from the right, where the nearest proxy wrote, and only as long as the one who wrote an entry is in
BFF_TRUSTED_PROXIES; the first address that is not is the client's. What is no address ends the walk
at the last one that was. An IPv4 address mapped into IPv6 is the IPv4 address.

Source: RFC 7239 section 7.4 and 8.1 (the same rules for the older field), RFC 4291 section 2.5.5.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

UNKNOWN = "unknown"
MAX_HOPS = 32

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        self._networks = tuple(networks)
        self._trusts = lru_cache(maxsize=1024)(self._judge)

    def trusts(self, peer: str) -> bool:
        """Whether a peer is one of the proxies."""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def client(self, peer: str, forwarded_for: Sequence[bytes]) -> str:
        """Return the client's address as text; `unknown` where the peer has none.

        `forwarded_for` holds the values of all `X-Forwarded-For` fields, in their order.
        """
        if not self._networks or not forwarded_for:
            return _text(peer)
        client = _address(peer)
        if client is None:
            return UNKNOWN
        entries = b",".join(forwarded_for).rsplit(b",", MAX_HOPS)
        for entry in reversed(entries[-MAX_HOPS:]):
            if not self._trusts(client):
                break
            named = _address(entry.decode("latin-1").strip(" \t"))
            if named is None:
                break
            client = named
        return str(client)

    def _judge(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPAddress | None:
    """Return the address in an entry: bare, `1.2.3.4:80`, `[::1]`, or `[::1]:80`."""
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def _text(peer: str) -> str:
    address = _address(peer)
    return UNKNOWN if address is None else str(address)


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()
