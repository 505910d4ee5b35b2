"""TLS to an upstream: verified, named, and cut short where it is cut short."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bff.oidc.mtls import ClientCertificate
from bff.proxy.route_config import RouteFaults, parse_routes
from bff.proxy.upstreams import Upstreams
from bff.proxy.wire import (
    RequestHead,
    UpstreamError,
    UpstreamTruncatedError,
    UpstreamUnavailableError,
)
from tests.support.raw_upstream import Peer, answering, raw_upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = RequestHead(b"GET", b"/", [])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an upstream")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "upstream.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_upstream_whose_certificate_is_trusted_is_spoken_to(
    certificate: Path, host: str
) -> None:
    """Names and addresses are verified, names are sent (SNI), and connections are kept."""
    named: list[str | None] = []
    server = server_side(certificate)
    server.sni_callback = lambda _object, name, _context: named.append(name)
    client = ssl.create_default_context(cafile=str(certificate))
    async with raw_upstream(
        answering(OK), server_ssl=server, client_ssl=client, host=host
    ) as upstream:
        for _ in range(3):
            response = await upstream.pool.send(GET, None, timeout=5)
            assert await response.read() == b"ok"
        assert upstream.connections == 1
        assert named == ["localhost" if host == "localhost" else None]


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    """The default context trusts the system's authorities only."""
    async with raw_upstream(
        answering(OK), server_ssl=server_side(certificate), host="localhost"
    ) as upstream:
        with pytest.raises(UpstreamUnavailableError):
            await upstream.pool.send(GET, None, timeout=5)
        assert not upstream.requests


async def test_a_certificate_for_another_name_is_refused(certificate: Path) -> None:
    """A trusted certificate must also be this host's."""
    client = ssl.create_default_context(cafile=str(certificate))
    async with raw_upstream(
        answering(OK), server_ssl=server_side(certificate), client_ssl=client, host="127.0.0.2"
    ) as upstream:
        with pytest.raises(UpstreamUnavailableError):
            await upstream.pool.send(GET, None, timeout=5)


async def test_an_upstream_without_tls_is_refused(certificate: Path) -> None:
    """There is no way back to plain text."""
    client = ssl.create_default_context(cafile=str(certificate))

    async def handle(peer: Peer) -> None:
        await peer.say(b"220 something else\r\n")
        await peer.until_closed()

    async with raw_upstream(handle) as upstream:
        pool = type(upstream.pool)(
            upstream.pool.address._replace(scheme="https"), ssl_context=client
        )
        with pytest.raises(UpstreamUnavailableError):
            await pool.send(GET, None, timeout=1)
        await pool.aclose()


@pytest.mark.parametrize("orderly", [True, False])
async def test_the_end_of_a_body_without_length_must_be_signed(
    certificate: Path, *, orderly: bool
) -> None:
    """Without close_notify anybody on the way could have cut the answer short (RFC 9112 9.8)."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(0.05)
        if not orderly:
            peer.writer.transport.abort()

    client = ssl.create_default_context(cafile=str(certificate))
    async with raw_upstream(
        handle, server_ssl=server_side(certificate), client_ssl=client, host="localhost"
    ) as upstream:
        response = await upstream.pool.send(GET, None, timeout=5)
        assert await response.read() == b"abc"
        if orderly:
            assert await response.read() == b""
        else:
            with pytest.raises(UpstreamTruncatedError):
                await response.read()


async def test_our_certificate_is_shown_where_the_route_says_so(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream that demands one is spoken to by such a route, and by no other (RFC 8705 3)."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = server_side(certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificate)
    ours = ClientCertificate(certificate, None).context()
    clients = Upstreams(with_certificate=ours)
    async with raw_upstream(answering(OK), server_ssl=server, host="localhost") as upstream:
        url = f"https://localhost:{upstream.pool.address.port}"
        shown, plain = parse_routes(
            {"/shown": {"upstream": url, "client_certificate": True}, "/plain": url}
        )
        response = await clients.of(shown).send(GET, None, timeout=5)
        assert await response.read() == b"ok"
        with pytest.raises(UpstreamError):
            await clients.of(plain).send(GET, None, timeout=5)
        await clients.aclose()


def test_a_certificate_is_for_https_alone() -> None:
    """On plain http nobody would see it: a fault, for each address of a list too."""
    for upstream in ("http://api", ["https://a", "http://b"]):
        with pytest.raises(RouteFaults, match="client_certificate needs an https upstream"):
            parse_routes({"/x": {"upstream": upstream, "client_certificate": True}})
