"""How we prove who we are, and how requests and answers are protected, at node `oidc-provider`.

One provider knows a client for every method; our side is called in this process. Then a service
goes through a whole login with everything signed and encrypted that can be.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from bff.key_file import make
from bff.oidc import token_endpoint
from bff.oidc.front_channel import outgoing
from bff.oidc.mtls import ClientCertificate
from bff.oidc.provider import Provider
from bff.oidc.registration import Registration
from bff.oidc.tokens import Policy
from tests.interop.conftest import PROVIDER
from tests.interop.test_story import environment, origin_of, session_of
from tests.support.certificates import client_certificate, loopback_certificate
from tests.support.node_provider import NodeProvider, client_metadata
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from tests.conftest import RunService
    from tests.interop.conftest import StartProvider

BASE_URL = "http://localhost:1"
SECRET = "secret with all of !*'();:@&=+$,/?#[]%~, and long enough"
FEATURES = {
    "encryption": {"enabled": True},
    "jwtResponseModes": {"enabled": True},
    "jwtUserinfo": {"enabled": True},
    "requestObjects": {"enabled": True},
}
SECRETS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
ALGORITHMS = ("ES256", "PS256", "RS256", "EdDSA")
CERTIFICATES = ("tls_client_auth", "self_signed_tls_client_auth")


def metadata(client_id: str, method: str, **more: Any) -> dict[str, Any]:
    """Return the registration of a client that authenticates by one method."""
    secret = SECRET if method in SECRETS else None
    changes = {"client_id": client_id, "client_secret": secret, **more}
    return client_metadata(BASE_URL, token_endpoint_auth_method=method, **changes)


class Clients:
    """The provider, and our side of each of its clients."""

    def __init__(self, folder: Path) -> None:
        self.key_files = {alg: folder / f"{alg}.json" for alg in ALGORITHMS}
        self.certificate = ClientCertificate(*client_certificate(folder))
        self.authority, cert, key = loopback_certificate(folder)
        x5c = self.certificate.jwk()
        clients = [
            metadata("by client_secret_basic: +%", "client_secret_basic"),
            metadata("by client_secret_post", "client_secret_post"),
            metadata("by client_secret_jwt", "client_secret_jwt"),
            metadata("by none", "none", grant_types=["authorization_code"]),
            metadata("by tls_client_auth", "tls_client_auth",
                     tls_client_auth_subject_dn="CN=a client for tests"),
            metadata("by self_signed_tls_client_auth", "self_signed_tls_client_auth",
                     jwks={"keys": [x5c]}),
        ]  # fmt: skip
        for alg, file in self.key_files.items():
            jwks = {"keys": make(file, alg, None).published()}
            clients.append(metadata(f"by {alg}", "private_key_jwt", jwks=jwks,
                                    token_endpoint_auth_signing_alg=alg,
                                    request_object_signing_alg=alg))  # fmt: skip
        node, server = PROVIDER.part()
        mtls = {"cert": cert.read_text(), "key": key.read_text(),
                "ca": self.certificate.file.read_text()}  # fmt: skip
        more = {"clients": clients[1:], "features": FEATURES, "mtls": mtls}
        self.node = NodeProvider(server, node, clients[0], more=more)

    def ours(self, client_id: str, method: str, **more: Any) -> Provider:
        """Return our side of one client."""
        registration: dict[str, Any] = {
            "issuer": self.node.issuer, "client_id": client_id, "client_auth": method,
            "client_secret": SECRET if method in SECRETS else None, "client_key_file": None,
            "scopes": ("openid",), "authorize_params": {}, "response_mode": "query",
            "fetch_userinfo": None,
            "policy": Policy(self.node.issuer, client_id, "RS256", 30.0), **more,
        }  # fmt: skip
        return Provider(Registration(**registration))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """One provider for all."""
    made = Clients(tmp_path_factory.mktemp("clients"))
    yield made
    made.node.stop()


@pytest.fixture
async def opened() -> AsyncIterator[list[Provider]]:
    """Our sides that a test opened, to be closed after it."""
    providers: list[Provider] = []
    yield providers
    for provider in providers:
        await provider.aclose()


@pytest.mark.parametrize(
    ("client_id", "method"),
    [("by client_secret_basic: +%", SECRETS[0]), *((f"by {one}", one) for one in SECRETS[1:])],
)
async def test_a_secret_of_every_character_is_accepted(
    clients: Clients, opened: list[Provider], client_id: str, method: str
) -> None:
    """In a header, in the form, and as the key of an assertion; by PAR and for a token."""
    opened.append(clients.ours(client_id, method))
    await authenticate(opened[-1])


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_key_of_every_kind_is_accepted(
    clients: Clients, opened: list[Provider], alg: str
) -> None:
    """private_key_jwt with the first key of a file that `bff keys` made."""
    file = clients.key_files[alg]
    opened.append(clients.ours(f"by {alg}", "private_key_jwt", client_key_file=file))
    await authenticate(opened[-1])


@pytest.mark.parametrize("method", CERTIFICATES)
async def test_a_certificate_is_accepted_at_the_aliases(
    clients: Clients, opened: list[Provider], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By subject and by the certificate itself, on real TLS (RFC 8705)."""
    monkeypatch.setenv("SSL_CERT_FILE", str(clients.authority))
    opened.append(clients.ours(f"by {method}", method, certificate=clients.certificate))
    await authenticate(opened[-1])
    assert (await opened[-1].metadata()).token_endpoint.startswith("https://")


async def authenticate(provider: Provider) -> None:
    """Prove who we are at two endpoints, twice at one of them."""
    for _ in range(2):
        await token_endpoint.client_credentials(provider, "")
    endpoint = (await provider.metadata()).pushed_authorization_request_endpoint
    assert endpoint is not None
    assert await token_endpoint.push(provider, endpoint, parameters(provider))


def parameters(provider: Provider) -> dict[str, str]:
    """Return an authorization request."""
    return {
        "response_type": "code", "client_id": provider.registration.client_id, "scope": "openid",
        "redirect_uri": f"{BASE_URL}/bff/callback", "state": "s" * 43, "nonce": "n" * 43,
        "code_challenge": "c" * 43, "code_challenge_method": "S256", "max_age": "60",
    }  # fmt: skip


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("pushed", [True, False])
async def test_a_signed_request_is_accepted(
    clients: Clients, opened: list[Provider], alg: str, *, pushed: bool
) -> None:
    """JAR by PAR and by value: the provider asks the user to sign in."""
    file = clients.key_files[alg]
    ours = clients.ours(f"by {alg}", "private_key_jwt", client_key_file=file, request_object=True)
    opened.append(ours)
    found = await ours.metadata()
    if not pushed:
        found = replace(found, pushed_authorization_request_endpoint=None)
    sent = await outgoing(ours, found, parameters(ours), time.time(), b"r" * 16)
    assert ("request_uri" in sent, "request" in sent) == (pushed, not pushed)
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(found.authorization_endpoint, params=sent)
    assert answer.status_code == 303, answer.text
    assert "/interaction/" in answer.headers["location"]


async def test_everything_is_signed_and_encrypted(
    run_service: RunService, service_port: int, oidc_provider: StartProvider, tmp_path: Path
) -> None:
    """private_key_jwt, PAR, JAR, JARM, nested ID tokens, userinfo and logout tokens in one login.

    The provider fetches our keys from `/bff/jwks.json`.
    """
    base_url = f"http://localhost:{service_port}"
    keys = tmp_path / "client-keys.json"
    make(keys, "ES256", "RSA-OAEP-256")
    algorithms = ("RSA-OAEP-256", "A256GCM")
    client = {
        "client_secret": None, "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": f"{base_url}/bff/jwks.json", "token_endpoint_auth_signing_alg": "ES256",
        "request_object_signing_alg": "ES256", "require_signed_request_object": True,
        "require_pushed_authorization_requests": True,
        "authorization_signed_response_alg": "RS256", "userinfo_signed_response_alg": "RS256",
    }  # fmt: skip
    for kind in ("id_token", "userinfo", "authorization"):
        client[f"{kind}_encrypted_response_alg"] = algorithms[0]
        client[f"{kind}_encrypted_response_enc"] = algorithms[1]
    accounts = {"alice": {"name": "Alice Liddell"}}
    provider = oidc_provider(
        base_url, client=client, accounts=accounts, more={"features": FEATURES}
    )
    run_service(
        {
            **{n: v for n, v in environment(base_url, provider).items() if "SECRET" not in n},
            "BFF_CLIENT_KEY_FILE": str(keys),
            "BFF_REQUEST_OBJECT": "true",
            "BFF_RESPONSE_MODE": "jwt",
            "BFF_ID_TOKEN_ENCRYPTION": "required",
        }
    )
    async with UserAgent(base_url) as browser:
        page = await browser.navigate("/bff/login")
        assert origin_of(page) == provider.issuer
        await browser.submit(fields={"login": "alice", "password": "any"})
        page = await browser.submit(button="Continue")
        assert (page.status, page.url) == (200, f"{base_url}/")
        came = [one.url for one in browser.visits if "/bff/callback" in one.url][-1]
        assert parse_qs(urlsplit(came).query).keys() == {"response"}
        assert (await session_of(browser))["user"]["name"] == "Alice Liddell"
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        answer = await browser.fetch("/bff/logout", method="POST")
        page = await browser.navigate(answer.json()["logout_url"], initiator=base_url)
        assert origin_of(page) == provider.issuer
        page = await browser.submit(button="Yes")
        assert page.url == f"{base_url}/"
        assert await provider.wait_for("backchannel.success")
        assert provider.named("backchannel.error") == provider.named("grant.error") == []
    assert json.loads(keys.read_text())["keys"][0]["use"] == "sig"
