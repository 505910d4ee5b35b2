"""For all paths: the policy that was judged is that of the path which the upstream receives.

By raw socket to the running service, and on to an upstream that notes what it gets; nothing in
between normalises. Each route has a base path of its own, which tells whose policy let a path in.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.open_proxy import PATIENCE, OpenProxy
from tests.support.raw_upstream import answering

PREFIXES = {
    b"/paths": b"/root", b"/paths/admin": b"/admin", b"/paths/a@b": b"/at",
    b"/paths/strip": b"/stripped",
}  # fmt: skip
OTHERS = (b"/open", b"/quick", b"/named", b"/several", b"/circuit", b"/bff")
PIECES = [
    b"/", b"/paths", b"/paths/admin", b"/%70aths", b"/admin", b"/%61dmin", b"/ADMIN", b"/strip",
    b"/x", b"/a@b", b"/a%40b", b"%2F", b"%2f", b"%5c", b"\\", b"/.", b"/..", b"/%2e", b"/%2E%2e",
    b";", b"%3b", b"/;x=1", b"/..;", b"/admin;x", b"%", b"%0", b"%zz", b"%00", b"%0d%0a", b"%25",
    b"%252e", b"%u002e", b"%c0%ae", b"%e0%80%af", b"%C3%A9", b"\xc3\xa9", b"\x00", b"\t", b"#",
    b"?", b"?/../", b"~", b"%7e", b"'", b'"', b"<", b"|", b"+", b"%20", b"&", b"=", b"/bff",
    b"/%62ff", b"bff/login", b"/open", b":", b"//", b"/admin/", b"/admin%20", b"http://other",
]  # fmt: skip
HARMLESS = [
    b"/admin", b"/strip", b"/a@b", b"/x", b"/%C3%A9", b"/%41~", b"/%61dmin", b"/a%20b", b"/;v=1",
    b"/y;v=1", b"/a%3Ab", b"/...", b"/a%2Bb", b"/%5Bx%5D", b"/a%25b", b"/",
]  # fmt: skip
paths = st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join)
sound = st.lists(st.sampled_from(HARMLESS), max_size=6).map(b"".join)
mangled = st.tuples(paths, st.binary(max_size=6), paths).map(b"".join)


class Upstream:
    """Answers every request; the body is its target, as it came."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with connection, contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    received = connection.recv(65_536)
                    if not received:
                        return
                    data += received
                head, _, data = data.partition(b"\r\n\r\n")
                target = head.split(b"\r\n")[0].split(b" ")[1]
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target
                )


class Client:
    """Sends targets over one connection, a new one where the service closed it."""

    def __init__(self, proxy: OpenProxy) -> None:
        host, port = proxy.base_url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._socket: socket.socket | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def get(self, target: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE)
        self._socket.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        data = self._more(b"", self._socket)
        while b"\r\n\r\n" not in data:
            data = self._more(data, self._socket)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:])
        length = int(fields[b"content-length"])
        while len(body) < length:
            body = self._more(body, self._socket)
        if fields.get(b"connection") == b"close":
            self.close()
        return int(lines[0].split(b" ")[1]), body

    def _more(self, data: bytes, connection: socket.socket) -> bytes:
        received = connection.recv(65_536)
        assert received, data
        return data + received


@pytest.fixture(scope="module")
def client(proxy: OpenProxy) -> Iterator[Client]:
    """A connection to the service, with the upstream of the paths behind it."""
    upstream = Upstream(proxy.ports[4])
    made = Client(proxy)
    yield made
    made.close()
    upstream.close()


def readings(path: bytes) -> Iterator[bytes]:
    """How an upstream may read a path: as it is, decoded, and without parameters."""
    decoded = unquote_to_bytes(path)
    yield decoded
    yield b"/".join(segment.partition(b";")[0] for segment in decoded.split(b"/"))


def owner(path: bytes) -> bytes:
    """The longest prefix of a path, on whole segments."""
    owners = [
        prefix
        for prefix in (*PREFIXES, *OTHERS)
        if path == prefix or path.startswith(prefix + b"/")
    ]
    return max(owners, key=len, default=b"")


@settings(
    max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tail=paths | sound | mangled)
@example(tail=b"/admin/..;/x")
@example(tail=b"/x/..%2fadmin")
@example(tail=b"/%61dmin/x?/../y")
@example(tail=b"/strip/admin")
@example(tail=b"/a%40b/c")
def test_the_policy_that_was_judged_is_that_of_the_path_that_arrives(
    client: Client, tail: bytes
) -> None:
    """Every path is refused, not found, or received as the bytes that were sent, by its owner."""
    target = b"/paths" + tail
    status, body = client.get(target)
    if status != 200:
        assert (status, body.startswith(b"{")) in {(400, True), (404, True), (431, True)}
        return
    path, question, query = target.partition(b"?")
    received, _, sent_query = body.partition(b"?")
    base = b"/" + received.split(b"/")[1]
    route = next(prefix for prefix, place in PREFIXES.items() if place == base)
    rest = received.removeprefix(base)
    if route == b"/paths/strip":
        assert path.endswith(rest)
        assert unquote_to_bytes(path.removesuffix(rest)) == route
        rest = path.removesuffix(rest) + rest
    assert rest == path
    for reading in readings(path):
        assert owner(reading) == route
        assert not {b".", b"..", b""} & set(reading.split(b"/")[1:-1])
        assert reading.rpartition(b"/")[2] not in {b".", b".."}
        assert not {ord("\\"), *range(0x20), 0x7F} & set(reading)
    assert unquote_to_bytes(sent_query) == unquote_to_bytes(query) or not question


@pytest.mark.parametrize(
    "target",
    [b"/paths/a%20b/%C3%A9/+~:@%2B'", b"/paths/a;v=1/b", b"/paths/", b"/paths/admin/?a=%20&a=1&b"],
)
def test_what_is_harmless_arrives(client: Client, target: bytes) -> None:
    """The property above is not true because everything is refused."""
    status, body = client.get(target)
    assert status == 200
    assert body.partition(b"/paths")[1:] == target.partition(b"/paths")[1:]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_methods_that_no_api_may_see_are_refused(proxy: OpenProxy, method: str) -> None:
    """One would echo our token, the other open a tunnel (RFC 9110 sections 9.3.6 and 9.3.8)."""
    async with proxy.upstream(answering(b"HTTP/1.1 200 OK\r\n\r\n", close=True)) as upstream:
        answer = await proxy.ask("/open", method=method)
        assert answer.status in {400, 405}
        assert not upstream.requests
