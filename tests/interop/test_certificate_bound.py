"""Tokens bound to our TLS certificate (RFC 8705) at node `oidc-provider`, as FAPI 2.0 has it.

The certificate is how the service proves who it is (`tls_client_auth`), its requests are pushed,
and the API shakes hands with nobody who shows none, nor believes a token that names another.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.interop.test_bound_tokens import FAPI, no_secret, refusals, sign_out
from tests.interop.test_story import Stage, environment
from tests.support import jose
from tests.support.certificates import client_certificate, loopback_certificate
from tests.support.orders_api import OrdersApi
from tests.support.raw_upstream import Peer, raw_upstream
from tests.support.user_agent import UserAgent

if TYPE_CHECKING:
    from tests.conftest import RunService
    from tests.interop.conftest import StartProvider


@dataclass
class CertificateApi:
    """The API: it says who called, where the token is bound to the certificate that was shown."""

    orders: OrdersApi = field(default_factory=lambda: OrdersApi(""))
    thumbprints: list[str] = field(default_factory=list[str])

    async def __call__(self, peer: Peer) -> None:
        """Serve a connection."""
        shown = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.thumbprints.append(jose.b64(hashlib.sha256(shown).digest()))
        while True:
            head = (await peer.head()).decode("latin-1")
            token = head.partition("authorization: Bearer ")[2].partition("\r\n")[0]
            claims = await self.claims(head, token)
            good = claims["cnf"] == {"x5t#S256": self.thumbprints[-1]}
            self.orders.tokens.append(token)
            body = json.dumps({"sub": claims["sub"]} if good else {}).encode()
            status = "200 OK" if good else "401 Unauthorized"
            start = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            await peer.say(start.encode() + body)

    async def claims(self, head: str, token: str) -> dict[str, Any]:
        """Return what a token says; the service's own has no scope."""
        if head.startswith("GET /machine"):
            claims: dict[str, Any] = json.loads(jose.unb64(token.split(".")[1]))
            return claims
        return await self.orders.verify(token)


def demanding(authority: tuple[Path, Path, Path], client: Path) -> ssl.SSLContext:
    """Return the API's side of TLS: no one comes in who does not show the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1], authority[2])
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_the_security_profile_of_fapi_by_certificates(
    run_service: RunService, service_port: int, oidc_provider: StartProvider, tmp_path: Path
) -> None:
    """Sign in, call, refresh, call, sign out: each token is bound, and shown with what binds it."""
    base_url = f"http://localhost:{service_port}"
    trusted, (certificate, key) = loopback_certificate(tmp_path), client_certificate(tmp_path)
    client = {
        "client_secret": None, "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=a client for tests",
        "tls_client_certificate_bound_access_tokens": True,
        "require_pushed_authorization_requests": True, "id_token_signed_response_alg": "PS256",
    }  # fmt: skip
    mtls = {
        "cert": trusted[1].read_text(), "key": trusted[2].read_text(),
        "ca": certificate.read_text(),
    }  # fmt: skip
    api = CertificateApi()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            raw_upstream(api, server_ssl=demanding(trusted, certificate))
        )
        api.orders.url = f"https://127.0.0.1:{upstream.port}"
        provider = oidc_provider(
            base_url,
            client=client,
            api=api.orders.url,
            more={"features": FAPI, "keys": ["PS256"], "mtls": mtls},
        )
        api.orders.issuer = provider.issuer
        bound = {"upstream": api.orders.url, "client_certificate": True}
        routes = {
            "/api": {**bound, "scopes": ["orders:read"]},
            "/machine": {**bound, "auth": "client"},
            "/bare": api.orders.url,
        }
        run_service(
            {
                **no_secret(environment(base_url, provider)),
                "BFF_CLIENT_AUTH": "tls_client_auth",
                "BFF_CLIENT_CERT_FILE": str(certificate),
                "BFF_CLIENT_CERT_KEY_FILE": str(key),
                "BFF_ID_TOKEN_ALG": "PS256",
                "BFF_FETCH_USERINFO": "false",
                "BFF_ROUTES": json.dumps(routes),
                "SSL_CERT_FILE": str(trusted[0]),
            }
        )
        browser = await stack.enter_async_context(UserAgent(base_url))
        stage = Stage(base_url, provider, api.orders, browser)
        page = await stage.sign_in(browser)
        assert (page.status, page.url) == (200, f"{base_url}/?from=login")
        asked, came = (
            next(parse_qs(urlsplit(one.url).query) for one in browser.visits if path in one.url)
            for path in ("/auth?", "/bff/callback?")
        )
        assert asked.keys() == {"client_id", "request_uri"}
        assert came["iss"] == [provider.issuer]
        for path in ("/api/orders", "/api/orders?a=b"):
            answer = await browser.fetch(path)
            assert (answer.status_code, answer.json()) == (200, {"sub": "alice"})
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert (await browser.fetch("/api/orders")).status_code == 200
        assert len(set(api.orders.tokens)) == 2
        answer = await browser.fetch("/machine/orders")
        assert (answer.status_code, answer.json()) == (200, {"sub": provider.client_id})
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        assert set(api.thumbprints) == {jose.b64(hashlib.sha256(der).digest())}
        assert (await browser.fetch("/bare/orders")).status_code == 502
        await sign_out(stage)
        assert refusals(provider) == provider.named("backchannel.error") == []
