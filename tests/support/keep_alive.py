"""One keep-alive connection to a service: what a browser has several of, without a browser's care.

It sends what a page's script sends, reads one answer, and can be asked again; or it follows an
answer that goes on, piece by piece. Which worker process serves it can be told from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from tests.support.processes import Process


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


class Connection:
    """A connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]
        self.server_port: int = writer.get_extra_info("peername")[1]

    @classmethod
    async def open(cls, base_url: str) -> Self:
        """Connect."""
        parts = urlsplit(base_url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(
        self,
        target: str,
        cookie: str = "",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, and return the whole answer. Raises IncompleteReadError."""
        await self.send(target, cookie, method=method, headers=headers)
        status, fields = await self.head()
        if fields.get("transfer-encoding") == "chunked":
            return Answer(status, fields, b"".join([piece async for piece in self.pieces()]))
        body = await self._reader.readexactly(int(fields.get("content-length", "0")))
        return Answer(status, fields, body)

    async def send(
        self,
        target: str,
        cookie: str = "",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request and wait for nothing."""
        fields = {
            "Host": f"127.0.0.1:{self.server_port}",
            "Sec-Fetch-Site": "same-origin",
            **({"Cookie": cookie} if cookie else {}),
            **(headers or {}),
        }
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {v}" for name, v in fields.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":")[::2] for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, value in pairs}

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the chunks of an answer until its end. Raises IncompleteReadError if cut short."""
        while True:
            size = int((await self._reader.readuntil(b"\r\n"))[:-2], 16)
            piece = (await self._reader.readexactly(size + 2))[:-2]
            if not size:
                return
            yield piece

    async def closed(self) -> bytes:
        """Wait until the server closes; return what came before."""
        with suppress(ConnectionError):
            return await self._reader.read()
        return b""

    async def aclose(self) -> None:
        """Close it, whatever it waits for."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def spread(base_url: str, number: int, pids: Sequence[int]) -> list[Connection]:
    """Open so many connections, such that each of these processes has some of them."""
    opened: list[Connection] = []
    try:
        async with asyncio.timeout(40):
            while True:
                opened += [await Connection.open(base_url) for _ in range(number - len(opened))]
                await asyncio.gather(*(one.ask("/bff/healthz") for one in opened))
                served = served_by(opened, pids)
                if len(served) == number and set(served.values()) == set(pids):
                    return opened
                given_up, opened = opened[::2], opened[1::2]
                await asyncio.gather(*(one.aclose() for one in given_up))
    except BaseException:
        await asyncio.gather(*(one.aclose() for one in opened), return_exceptions=True)
        raise


def workers(process: Process) -> list[int]:
    """Return the process ids of a service's workers: its children, or itself if it has none."""
    pid = process.popen.pid
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    serving = [
        one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]
    return serving or [pid]


class Ends(Protocol):
    """A connection, known by the ports of its two ends."""

    port: int
    server_port: int


E = TypeVar("E", bound=Ends)


def served_by(connections: Iterable[E], pids: Iterable[int]) -> dict[E, int]:
    """Return which of the processes holds the other end of each connection (Linux)."""
    inodes: dict[tuple[int, int], str] = {}
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        here, there = (int(address.partition(":")[2], 16) for address in fields[1:3])
        inodes[here, there] = fields[9]
    owners: dict[str, int] = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                owners[str(descriptor.readlink())] = pid
    ends = {one: inodes.get((one.server_port, one.port)) for one in connections}
    return {
        one: owners[f"socket:[{inode}]"]
        for one, inode in ends.items()
        if f"socket:[{inode}]" in owners
    }


def descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
