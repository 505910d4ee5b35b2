"""`bff demo` as a process of its own, and what is left when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from bff.demo.addresses import Addresses, PortsTakenError
from bff.sessions.embedded import EmbeddedRedis
from tests.support.processes import Process, free_port, start, wait_for


@dataclass(frozen=True)
class Demo:
    """A running demo. `data` is what XDG_DATA_HOME was."""

    addresses: Addresses
    data: Path
    process: Process

    @property
    def url(self) -> str:
        """The origin of the application."""
        return self.addresses.service

    @property
    def provider(self) -> str:
        """The origin of the provider."""
        return self.addresses.provider

    @property
    def folder(self) -> Path:
        """Where this demo keeps its data."""
        return self.data / "bff" / "demo" / str(self.addresses.port)

    @property
    def socket(self) -> str:
        """Where its Redis listens."""
        return EmbeddedRedis(self.folder).url.removeprefix("unix://")

    def interrupt(self, patience: float = 15.0) -> int:
        """Press Ctrl-C; return the exit code. Raises subprocess.TimeoutExpired."""
        self.process.popen.send_signal(signal.SIGINT)
        return self.process.popen.wait(patience)

    def kill(self) -> None:
        """End it in any case, with its Redis."""
        if self.process.popen.poll() is None:
            self.process.popen.kill()
            self.process.popen.wait()
        while left := self.leftovers():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def leftovers(self) -> list[int]:
        """The processes that still work on its data: Redis shows no more than its socket."""
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
        )
        lines = (line.split(None, 1) for line in listing.stdout.splitlines())
        return [
            int(pid)
            for pid, *args in lines
            if args and (str(self.data) in args[0] or self.socket in args[0])
        ]


def free_addresses() -> Addresses:
    """Three free ports in a row."""
    while True:
        addresses = Addresses(free_port())
        with ExitStack() as stack:
            try:
                addresses.listen(stack)
            except (PortsTakenError, OverflowError):
                continue
            return addresses


def begin_demo(data: Path, addresses: Addresses, **env: str) -> Demo:
    """Start a demo whose data lie under `data`, without waiting for anything."""
    data.mkdir(parents=True, exist_ok=True)
    output = data / f"demo-{addresses.port}.log"
    arguments = ["bff", "demo", "--port", str(addresses.port)]
    env = {"XDG_DATA_HOME": str(data), "COLUMNS": "80", **env}
    return Demo(addresses, data, start(arguments, output, env))


def start_demo(data: Path, addresses: Addresses | None = None) -> Demo:
    """Start a demo and wait until its service can take a login."""
    demo = begin_demo(data, addresses or free_addresses())
    wait_for(f"{demo.url}/bff/readyz", demo.process)
    return demo
