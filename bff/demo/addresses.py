"""Where everything of the demo is: three ports in a row of this machine.

The service is reached by name and the others by number, so that signing in crosses sites as it does
in real life. `localhost` may mean 127.0.0.1 or ::1 to a browser: the service listens on both, or a
program that already listens on one of them would get its visitors.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass

HIGHEST = 65_533
STEP = 100
NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses that follow from the first port."""

    port: int

    @property
    def service(self) -> str:
        """Return the origin of the SPA and the service."""
        return "http://localhost" + ("" if self.port == 80 else f":{self.port}")

    @property
    def provider(self) -> str:
        """Return the issuer."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def api(self) -> str:
        """Return the API, which is also the audience of its tokens."""
        return f"http://127.0.0.1:{self.port + 2}"

    def listen(self, stack: ExitStack) -> list[list[socket.socket]]:
        """Take the ports until `stack` closes: the sockets of service, provider and API.

        Raises PortsTakenError.
        """
        sockets: list[list[socket.socket]] = []
        taken: list[int] = []
        wanted = [("127.0.0.1", "::1"), ("127.0.0.1",), ("127.0.0.1",)]
        for number, hosts in enumerate(wanted, self.port):
            try:
                sockets.append(_listen(stack, hosts, number))
            except OSError:
                taken.append(number)
        if taken:
            raise PortsTakenError(taken)
        return sockets

    def others(self) -> int | None:
        """Return a first port whose three are free, above this one where there is such."""
        candidates: list[int] = [*range(self.port + STEP, HIGHEST, STEP), 8080]
        for port in candidates:
            with ExitStack() as stack, suppress(PortsTakenError):
                Addresses(port).listen(stack)
                return port
        return None


class PortsTakenError(Exception):
    """Ports that another program has, or that this user may not have."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(f"ports in use: {ports}")
        self.ports = ports


def _listen(stack: ExitStack, hosts: tuple[str, ...], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for host in hosts:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sockets.append(stack.enter_context(socket.create_server((host, port), family=family)))
        except OSError as error:
            if not sockets or error.errno not in NO_SUCH_ADDRESS:
                raise
    return sockets
