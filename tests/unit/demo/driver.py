"""Drives the dev provider and the demo API as a browser and a client would."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, urlsplit

import httpx2
import uvicorn
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette

from bff.demo.provider import Client, ProviderConfig, create_provider
from bff.demo.provider.grants import s256

AUDIENCE = "http://127.0.0.1:8082"
CALLBACK = "http://localhost:8080/bff/callback"
LOGGED_OUT = "http://localhost:8080/bff/logged-out"
VERIFIER = "v" * 43
SCOPE = "openid profile email offline_access orders:read"
SECRET = "a s%cret:+é"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def make_config(
    issuer: str = "http://127.0.0.1:8081", backchannel: str | None = None, *, rotate: bool = True
) -> ProviderConfig:
    """Two clients: `app` with a secret full of punctuation, and `other`."""
    app = Client("app:1", SECRET, (CALLBACK, CALLBACK + "?a=1"), (LOGGED_OUT,), backchannel)
    other = Client("other", "other-secret", ("http://localhost:9999/cb",), (), backchannel)
    return ProviderConfig(issuer, (app, other), AUDIENCE, rotate=rotate)


@dataclass
class Driver:
    """One browser at one provider; `http` keeps its cookies."""

    app: Starlette
    clock: Clock
    issuer: str = "http://127.0.0.1:8081"
    http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.client()

    def client(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.app)
        return httpx2.AsyncClient(transport=transport, base_url=self.issuer)

    def request(self, **changes: str | None) -> dict[str, str]:
        """The parameters of a good authorization request, changed; None leaves one out."""
        whole = {
            "client_id": "app:1",
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": SCOPE,
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    async def authorize(self, **changes: str | None) -> httpx2.Response:
        return await self.http.get("/authorize", params=self.request(**changes))

    async def choose(self, page: httpx2.Response, user: str, **more: str) -> httpx2.Response:
        """Click a user's card on the sign-in page."""
        assert page.status_code == 200
        return await self.http.post("/login", data={**hidden(page), "user": user, **more})

    async def code(self, user: str = "alice", **changes: str | None) -> str:
        """Sign in, on the page if there is one, and return the code."""
        answer = await self.authorize(**changes)
        if answer.status_code == 200:
            answer = await self.choose(answer, user)
        return landed(answer)["code"]

    async def token(self, **form: str | None) -> httpx2.Response:
        """Ask the token endpoint, as `app` with client_secret_basic."""
        data = {name: value for name, value in form.items() if value is not None}
        return await self.http.post("/token", data=data, headers=basic("app:1", SECRET))

    async def redeem(self, code: str, **changes: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.token(**form)

    async def sign_in(self, user: str = "alice", **changes: str | None) -> dict[str, str]:
        """Sign in and return the token answer."""
        answer = await self.redeem(await self.code(user, **changes))
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens

    async def refresh(self, token: str, **more: str) -> httpx2.Response:
        return await self.token(grant_type="refresh_token", refresh_token=token, **more)

    async def userinfo(self, access_token: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self.http.get("/userinfo", headers=headers)

    async def counters(self) -> dict[str, int]:
        counters: dict[str, int] = (await self.http.get("/dev/state")).json()["counters"]
        return counters

    async def verified(self, token: str) -> jwt.Token:
        """The token, proven by the published keys."""
        keys = KeySet.import_key_set((await self.http.get("/jwks")).json())
        return jwt.decode(token, keys, algorithms=["RS256"])


@cache
def _private_keys() -> list[RSAPrivateKey]:
    return [generate_private_key(65537, 2048) for _ in range(3)]


def make_key(kid: str) -> RSAKey:
    """One of three keys, made once for all tests, under this name."""
    private = _private_keys()[sum(kid.encode()) % 3]
    return RSAKey.import_key(private, {"kid": kid, "use": "sig", "alg": "RS256"})


def make_driver(config: ProviderConfig | None = None) -> Driver:
    clock = Clock()
    config = config or make_config()
    return Driver(create_provider(config, clock=clock, make_key=make_key), clock, config.issuer)


def basic(client_id: str, secret: str) -> dict[str, str]:
    """client_secret_basic as RFC 6749 2.3.1 has it: urlencoded, then base64."""
    from base64 import b64encode
    from urllib.parse import quote_plus

    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}


def hidden(page: httpx2.Response) -> dict[str, str]:
    """The hidden fields of a page's form."""
    from html import unescape

    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in found}


def landed(answer: httpx2.Response, at: str = CALLBACK) -> dict[str, str]:
    """The parameters of an answer that redirects to `at`."""
    assert answer.status_code == 303, (answer.status_code, answer.text[-600:])
    url = answer.headers["location"]
    assert url.partition("?")[0] == at
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def listen() -> socket.socket:
    """A socket that listens on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def origin(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(app: Starlette, listener: socket.socket) -> AsyncIterator[str]:
    """Serve `app` over a real socket for a while; gives its origin."""
    config = uvicorn.Config(
        app, log_level="warning", lifespan="off", ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.config.load()
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield origin(listener)
    finally:
        server.should_exit = True
        await task
        listener.close()
