"""Whole logins, walked by a browser that costs little, at the provider of the benchmark.

Flow: the place where a login begins → its redirect to the provider, whose page is left out: the
browser makes up the code that the provider would have sent → the callback → the session cookie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.bench.machine import CannotMeasureError
from tests.support.user_agent import ACCEPT_PAGE, CHROME

AT_ONCE = 8
PEOPLE = count(1)
T = TypeVar("T")
R = TypeVar("R")
NAVIGATION = (
    f"User-Agent: {CHROME}\r\nAccept: {ACCEPT_PAGE}\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\n"
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
)


@dataclass(frozen=True)
class Place:
    """Where logins begin and come back to, and what the session cookie is called."""

    origin: str
    begin: str
    callback: str
    cookie: str


class _Window:
    """One connection that keeps the cookies of one login at a time."""

    def __init__(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._place = place
        self._reader = reader
        self._writer = writer
        self._host = urlsplit(place.origin).netloc

    async def sign_in(self) -> str:
        """Walk through one login; return the session cookie as it is sent."""
        jar: dict[str, str] = {}
        status, location = await self._get(self._place.begin, "none", jar)
        query = parse_qs(urlsplit(location).query)
        if status not in {302, 303} or not {"state", "nonce"} <= set(query):
            raise CannotMeasureError(f"{self._place.begin} answered {status}, not with a login")
        code = f"{next(PEOPLE)}.{query['nonce'][0]}"
        answer = urlencode({"code": code, "state": query["state"][0]})
        status, _ = await self._get(f"{self._place.callback}?{answer}", "cross-site", jar)
        if status not in {200, 302, 303} or not jar.get(self._place.cookie):
            raise CannotMeasureError(f"{self._place.callback} answered {status}, without a session")
        return f"{self._place.cookie}={jar[self._place.cookie]}"

    async def get(self, target: str, cookie: str) -> bytes:
        """Fetch as a page does; return the body. Raises CannotMeasureError unless it is 200."""
        name, _, value = cookie.partition("=")
        status, _ = await self._get(target, "same-origin", {name: value})
        if status != 200:
            raise CannotMeasureError(f"{target} answered {status} after a login")
        return self._body

    async def aclose(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _get(self, target: str, site: str, jar: dict[str, str]) -> tuple[int, str]:
        """Send a request with the jar's cookies and keep those of the answer."""
        cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
        sent = f"Cookie: {cookies}\r\n" if cookies else ""
        self._writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {self._host}\r\n{NAVIGATION}"
            f"Sec-Fetch-Site: {site}\r\n{sent}\r\n".encode()
        )
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length, location = 0, ""
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "location":
                location = value.strip()
            elif name.lower() == "set-cookie":
                pair = value.partition(";")[0].strip().partition("=")
                jar[pair[0]] = pair[2]
        self._body = await self._reader.readexactly(length)
        return int(first.split(" ")[1]), location


async def sign_in(place: Place, number: int) -> list[str]:
    """Sign so many people in, some at once; return their session cookies."""
    return await _spread(place, range(number), lambda window, _: window.sign_in())


async def bodies(place: Place, target: str, cookies: Iterable[str]) -> list[bytes]:
    """Fetch a target with each cookie. Raises CannotMeasureError unless all answer 200."""
    return await _spread(place, cookies, lambda window, cookie: window.get(target, cookie))


async def _spread(
    place: Place, things: Iterable[T], work: Callable[[_Window, T], Awaitable[R]]
) -> list[R]:
    """Do something with each thing, in several windows at once."""
    parts = urlsplit(place.origin)
    left = iter(things)
    found: list[R] = []

    async def one_after_another(window: _Window) -> None:
        for thing in left:
            found.append(await work(window, thing))  # noqa: PERF401 - shared by all windows

    windows = [
        _Window(place, *await asyncio.open_connection(parts.hostname, parts.port))
        for _ in range(AT_ONCE)
    ]
    try:
        await asyncio.gather(*(one_after_another(window) for window in windows))
    finally:
        for window in windows:
            await window.aclose()
    return found
