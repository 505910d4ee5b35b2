"""Our TLS certificate: shown on real TLS connections, used at the aliases, published as a JWK."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bff.errors import ProviderUnavailableError
from bff.key_file import make
from bff.oidc import token_endpoint
from bff.oidc.mtls import BadCertificateError, ClientCertificate
from tests.support.certificates import client_certificate, loopback_certificate
from tests.support.jose import ec
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import ScriptedProvider

TOKEN = {"access_token": "at", "token_type": "Bearer"}


@asynccontextmanager
async def token_endpoint_by_tls(
    folder: Path, trusted: Path
) -> AsyncIterator[tuple[str, list[tuple[bytes | None, bytes]]]]:
    """Serve a token endpoint that demands a certificate; yield its URL and who asked what."""
    asked: list[tuple[bytes | None, bytes]] = []
    _, certificate, key = loopback_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        asked.append((peer, await reader.readexactly(length)))
        body = json.dumps(TOKEN).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/token", asked


async def test_the_certificate_is_shown_at_the_alias(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token endpoint among the aliases gets our certificate and `client_id`, and no secret."""
    file, key_file = client_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with token_endpoint_by_tls(tmp_path, file) as (url, asked):
        scripted.metadata["mtls_endpoint_aliases"] = {"token_endpoint": url}
        provider = make_provider(client_secret=None, certificate=ClientCertificate(file, key_file))
        assert (await token_endpoint.refresh(provider, "rt")).access_token == "at"
        without = make_provider(client_secret=None)
        scripted.metadata["token_endpoint"] = url
        with pytest.raises(ProviderUnavailableError):
            await token_endpoint.refresh(without, "rt")
    ours = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
    assert asked == [(ours, b"grant_type=refresh_token&refresh_token=rt&client_id=my-spa")]
    assert scripted.times("/token") == 0


def test_the_certificate_is_published_with_its_key(tmp_path: Path) -> None:
    """`x5c` holds the certificate, for self_signed_tls_client_auth (RFC 8705 2.2.2)."""
    jwk = ClientCertificate(*client_certificate(tmp_path)).jwk()
    assert jwk is not None
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "use", "x5c"}
    x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0]))


def test_certificate_and_key_may_be_one_file(tmp_path: Path) -> None:
    """Without a file for the key it is looked for beside the certificate."""
    file, key_file = client_certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(file.read_bytes() + key_file.read_bytes())
    ClientCertificate(both, None).context()


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    """A missing, foreign, encrypted or malformed key or certificate is a fault of its own."""
    file, key_file = client_certificate(tmp_path)
    _, other = client_certificate(tmp_path, "other")
    nonsense, encrypted = tmp_path / "nonsense", tmp_path / "encrypted"
    nonsense.write_text("nonsense")
    encrypted.write_bytes(ec().as_pem(private=True, password="x"))
    for pair in (
        (file, None), (file, other), (nonsense, key_file), (file, nonsense), (file, encrypted),
        (tmp_path / "none", key_file), (file, tmp_path / "none"),
    ):  # fmt: skip
        with pytest.raises(BadCertificateError):
            ClientCertificate(*pair).context()
    for bad in (nonsense, key_file, tmp_path / "none"):
        with pytest.raises(BadCertificateError):
            ClientCertificate(bad, key_file).jwk()


@pytest.mark.parametrize(
    ("method", "published"),
    [("tls_client_auth", False), ("self_signed_tls_client_auth", True), (None, True)],
)
async def test_it_is_published_where_it_must_be_known(
    make_provider: MakeProvider, tmp_path: Path, method: str | None, published: bool
) -> None:
    """A certificate of an authority is known by its subject, and needs no publication."""
    certificate = ClientCertificate(*client_certificate(tmp_path))
    provider = make_provider(client_auth=method, client_secret=None, certificate=certificate)
    assert [("x5c" in jwk) for jwk in provider.published_keys()] == [True] * published
    make(tmp_path / "keys.json", "ES256", None)
    binding = make_provider(client_key_file=tmp_path / "keys.json", certificate=certificate)
    assert not [jwk for jwk in binding.published_keys() if "x5c" in jwk], "it proves nothing here"
