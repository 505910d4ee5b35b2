"""Connections are opened to whichever address of a name answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy import connecting
from bff.proxy.connecting import MOST, in_turn, open_connection
from bff.proxy.connection import UpstreamConnection
from bff.proxy.wire import Address, UpstreamConnectTimeoutError, UpstreamUnreachableError
from tests.support.processes import free_port

SILENT, ANSWERING = "127.0.0.2", "127.0.0.1"
FOUND = st.lists(st.tuples(st.integers(0, 2), st.text("ab:1", min_size=1, max_size=3)))


class Nobody:
    """An owner that needs to know nothing."""

    def released(self, connection: UpstreamConnection) -> None:
        """Take it back."""

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget it."""


@pytest.fixture
def port() -> Iterator[int]:
    """A port with a server on one address, and on another one that takes no connection."""
    number = free_port()
    with ExitStack() as stack:
        for place in (ANSWERING, SILENT):
            server = stack.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((place, number))
            server.listen(100 if place == ANSWERING else 0)
        for _ in range(8):  # fills what waits to be accepted, so that the next is not heard
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((SILENT, number))
        yield number


def resolved(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    """Let every name stand for these addresses."""

    async def found(loop: asyncio.AbstractEventLoop, address: Address) -> list[str]:
        del loop, address
        return list(places)

    monkeypatch.setattr(connecting, "_places", found)


async def opened(port: int, limit: float = 4.0, host: str = "api.example") -> None:
    """Open a connection, and close it."""
    loop = asyncio.get_running_loop()
    address = Address("http", host, port)
    connection = await open_connection(loop, Nobody(), address, None, limit)
    connection.close()


async def test_an_address_that_is_silent_does_not_hide_the_next(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its share of the time, and no more."""
    resolved(monkeypatch, SILENT, ANSWERING)
    await opened(port)


async def test_an_address_that_refuses_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nobody listens the next is tried at once."""
    with socket.create_server((ANSWERING, 0)) as server:
        resolved(monkeypatch, "127.0.0.3", ANSWERING)
        await opened(server.getsockname()[1])


async def test_where_no_address_answers(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one says why."""
    resolved(monkeypatch, SILENT, SILENT)
    with pytest.raises(UpstreamConnectTimeoutError, match=r"within 0\.2 s"):
        await opened(port, 0.2)
    resolved(monkeypatch, SILENT, "127.0.0.3")
    with pytest.raises(UpstreamUnreachableError, match="ConnectionRefusedError"):
        await opened(port, 0.4)


async def test_names_are_looked_up() -> None:
    """One that stands for this machine leads to it, whichever of its addresses listens."""
    with socket.create_server((ANSWERING, 0)) as server:
        await opened(server.getsockname()[1], host="localhost")
        await opened(server.getsockname()[1], host=ANSWERING)
    with pytest.raises(UpstreamUnreachableError, match="gaierror"):
        await opened(1, host="nowhere.invalid")


@pytest.mark.parametrize(
    ("found", "places"),
    [
        ([], []),
        ([(6, "::1")], ["::1"]),
        ([(6, "::1"), (6, "::2"), (4, "1")], ["::1", "1", "::2"]),
        ([(4, "1"), (4, "1"), (4, "2"), (6, "::1")], ["1", "::1", "2"]),
        ([(4, str(number)) for number in range(9)], ["0", "1", "2", "3"]),
    ],
)
def test_families_take_turns(found: list[tuple[int, str]], places: list[str]) -> None:
    """The likeliest is first, each comes once, and not too many are tried."""
    assert in_turn(found) == places


@given(FOUND)
def test_what_is_tried_was_found(found: list[tuple[int, str]]) -> None:
    """Nothing else, the first first, and of several families the second is another's."""
    places = in_turn(found)
    assert set(places) <= {place for _, place in found}
    assert len(places) <= MOST
    assert places[:1] == [place for _, place in found][:1]
