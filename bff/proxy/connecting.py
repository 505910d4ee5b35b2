"""How a connection to an upstream, or to the provider, is opened.

Rules: a name that stands for several addresses is tried at each in turn, and none of them takes all
the time there is, so that one which answers nothing, such as an IPv6 address behind a router that
drops it, does not hide the others; families of addresses alternate. TLS is verified and named
(SNI), and an address with a wrong certificate is the end: no other is better.

Source: RFC 8305 (without its race: connections are kept, so few are opened), RFC 6724.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from itertools import chain, zip_longest

from bff.proxy.connection import Owner, UpstreamConnection
from bff.proxy.wire import Address, UpstreamConnectTimeoutError, UpstreamUnreachableError

MOST = 4  # addresses that are tried


async def open_connection(
    loop: asyncio.AbstractEventLoop,
    owner: Owner,
    address: Address,
    context: ssl.SSLContext | None,
    limit: float,
) -> UpstreamConnection:
    """Open a connection within `limit` seconds; with a `context` by TLS, to the one who is named.

    Raises UpstreamConnectTimeoutError or UpstreamUnreachableError.
    """
    try:
        async with asyncio.timeout(limit):
            connection = await _at_one(loop, owner, address, context, loop.time() + limit)
    except TimeoutError:
        raise UpstreamConnectTimeoutError(f"no connection within {limit:g} s") from None
    except (OSError, ValueError) as error:
        raise UpstreamUnreachableError(f"no connection: {type(error).__name__}: {error}") from error
    if not connection.usable:
        raise UpstreamUnreachableError("the connection was closed as soon as it was open")
    return connection


async def _at_one(
    loop: asyncio.AbstractEventLoop,
    owner: Owner,
    address: Address,
    context: ssl.SSLContext | None,
    deadline: float,
) -> UpstreamConnection:
    places = await _places(loop, address)
    while True:
        place = places.pop(0)
        try:
            async with asyncio.timeout((deadline - loop.time()) / (len(places) + 1)):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop, owner),
                    place,
                    address.port,
                    ssl=context,
                    server_hostname=address.host if context is not None else None,
                )
        except ssl.SSLError:
            raise
        except OSError:
            if not places:
                raise
        else:
            return connection


async def _places(loop: asyncio.AbstractEventLoop, address: Address) -> list[str]:
    """Return the IP addresses of a host, the likeliest first."""
    host = address.host
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        found = await loop.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
        return in_turn((family, str(place[0])) for family, _, _, _, place in found)
    return [host]


def in_turn(found: Iterable[tuple[int, str]]) -> list[str]:
    """Return IP addresses with their families in turn; `found` has the likeliest first."""
    families: dict[int, dict[str, None]] = {}
    for family, place in found:
        families.setdefault(family, {})[place] = None
    alternating = chain.from_iterable(zip_longest(*families.values()))
    return [place for place in alternating if place is not None][:MOST]
