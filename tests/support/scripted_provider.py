"""An OpenID provider on a real socket that says exactly what a test tells it to.

It answers discovery and keys properly unless told otherwise; every other address answers what the
test has put into `answers`. It keeps every request, and can be slow, cut off, or silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.support import jose

DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True)
class Answer:
    """What is answered: `cut` sends so many bytes of the body and ends; `drip` is s a byte."""

    status: int = 200
    body: Any = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None
    drip: float = 0.0

    def content(self) -> bytes:
        """Return the bytes of the body."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Script = Answer | Callable[[Asked], Answer | Awaitable[Answer]]


@dataclass
class ScriptedProvider:
    """The provider's address, its script, and what it was asked."""

    issuer: str
    answers: dict[str, Script] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jose.jwk(jose.rsa(), kid="one")])
    metadata: dict[str, Any] = field(default_factory=dict)
    connections: int = 0

    def url(self, path: str) -> str:
        """Return the address of one of its endpoints."""
        return self.issuer.rstrip("/") + path

    def document(self) -> dict[str, Any]:
        """Return the discovery document; members of `metadata` that are None are left out."""
        members = {
            "issuer": self.issuer,
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
            "userinfo_endpoint": self.url("/userinfo"),
            "revocation_endpoint": self.url("/revoke"),
            "end_session_endpoint": self.url("/logout"),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            **self.metadata,
        }
        return {name: value for name, value in members.items() if value is not None}

    def times(self, path: str) -> int:
        """Return how often an address was asked."""
        return sum(asked.target.partition("?")[0] == path for asked in self.asked)

    def last(self, path: str) -> Asked:
        """Return the latest request to an address."""
        return [asked for asked in self.asked if asked.target.partition("?")[0] == path][-1]

    def id_token(self, **changes: object) -> str:
        """Return an ID token signed with the first key, issued now."""
        now = time.time()
        given = {"iss": self.issuer, "iat": now, "exp": now + 300, **changes}
        return jose.sign(jose.id_claims(**given), kid="one")

    async def answer(self, asked: Asked) -> Answer:
        """Return what the script says."""
        path = asked.target.partition("?")[0]
        script = self.answers.get(path)
        if script is None:
            if path == DISCOVERY:
                return Answer(body=self.document())
            if path == "/jwks":
                return Answer(body={"keys": self.keys})
            return Answer(404, {"error": "not_found"})
        if isinstance(script, Answer):
            return script
        said = script(asked)
        return said if isinstance(said, Answer) else await said

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip("\r\n").split("\r\n")
                method, target, _ = first.split(" ")
                pairs = (line.partition(":")[::2] for line in lines)
                headers = {name.lower(): value.strip() for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, target, headers, body)
                self.asked.append(asked)
                if not await _write(writer, await self.answer(asked)):
                    break
        writer.close()


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    content = answer.content()
    lines = [
        f"HTTP/1.1 {answer.status} Said",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if answer.drip:
        for byte in content:
            await asyncio.sleep(answer.drip)
            writer.write(bytes([byte]))
            await writer.drain()
    else:
        writer.write(content if answer.cut is None else content[: answer.cut])
    await writer.drain()
    return answer.cut is None


@contextlib.asynccontextmanager
async def scripted_provider(slash: str = "") -> AsyncIterator[ScriptedProvider]:
    """Run a provider; `slash` ends its issuer."""
    provider = ScriptedProvider("")
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await provider.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio would report a cancelled handler as an error
        finally:
            open_now.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider.issuer = f"http://127.0.0.1:{port}{slash}"
    try:
        yield provider
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()
