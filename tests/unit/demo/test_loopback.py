from __future__ import annotations

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Scope

from bff.demo.loopback import LoopbackOnly, is_loopback_authority, is_loopback_origin
from bff.demo.provider import Client, ProviderConfig
from tests.unit.demo.driver import Driver


@pytest.mark.parametrize(
    "authority", ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:8081", "[::1]", "[::1]:8081"]
)
def test_loopback_names_pass(authority: str) -> None:
    """Every loopback name passes, in any case and with any port."""
    assert is_loopback_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "::1",
        "127.0.0.1@evil.example", "localhost:80@evil.example", "[::1].evil", "[::1", "localhost:٣",
        "localhost:80:80", "localhost:-1", "0.0.0.0",
    ],
)  # fmt: skip
def test_foreign_names_are_refused(authority: str) -> None:
    """No foreign name passes, however much it looks like ours."""
    assert not is_loopback_authority(authority)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    """Judging never fails, and whatever passes begins with a loopback name."""
    if is_loopback_authority(text):
        assert text.lower().startswith(("localhost", "127.0.0.1", "[::1]"))
    is_loopback_origin(text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8081", True),
        ("http://localhost", True),
        ("http://127.0.0.1:8081/", False),
        ("https://127.0.0.1:8081", False),
        ("http://evil.example", False),
        ("http://[", False),
    ],
)
def test_origins(url: str, expected: bool) -> None:
    """Only a bare http origin of this machine counts."""
    assert is_loopback_origin(url) is expected


async def test_a_foreign_host_header_is_refused(driver: Driver) -> None:
    """A page whose name was made to resolve to this machine gets nothing."""
    answer = await driver.http.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("peer", ["192.0.2.1", "not an address"])
async def test_a_foreign_peer_is_refused(driver: Driver, peer: str) -> None:
    """A peer that is not loopback gets nothing, whatever its Host header says."""
    transport = httpx2.ASGITransport(app=driver.app, client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url=driver.issuer) as http:
        assert (await http.get("/")).status_code == 403


async def test_a_foreign_websocket_is_closed() -> None:
    """A WebSocket handshake for a foreign host is closed before the app sees it."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: object, send: object) -> None:
        raise AssertionError("reached")

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")], "client": None}
    await LoopbackOnly(app)(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    "address", ["/callback", "ftp://localhost/x", "http://localhost/#part", "javascript:alert(1)"]
)
def test_a_client_needs_absolute_addresses(address: str) -> None:
    """A client with an address that is no absolute URL without fragment is not made."""
    with pytest.raises(ValueError, match="absolute"):
        Client("app", "secret", (address,))
    with pytest.raises(ValueError, match="absolute"):
        Client("app", "secret", (), (), address)


def test_a_provider_is_on_loopback_and_its_clients_differ() -> None:
    """A provider elsewhere, a client without secret and two clients of one name are not made."""
    client = Client("app", "secret", ())
    with pytest.raises(ValueError, match="loopback"):
        ProviderConfig("https://login.example", (client,), "api")
    with pytest.raises(ValueError, match="share"):
        ProviderConfig("http://127.0.0.1:1", (client, client), "api")
    with pytest.raises(ValueError, match="client_secret"):
        Client("app", "", ())


def test_the_secret_is_not_printed() -> None:
    """The representation of a client does not show its secret."""
    assert "hush" not in repr(Client("app", "hush", ()))
