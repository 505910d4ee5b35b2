"""A provider that costs little, and a slow API, in one process of its own.

Run by the benchmark, `python -m tests.bench.provider --port ...`. It asks nobody anything: a code
is `<number>.<nonce>`, whoever made it up, and every refresh token is good. ID tokens are signed
with RS256, as they are everywhere. `/slow` answers after five seconds, and only to a bearer token.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import time
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support import jose

CLIENT_ID = "bench"
CLIENT_SECRET = "a secret of the benchmark, long enough"
SCOPE = "openid offline_access"
LIFETIME = 3600
SLOW = 5.0
NUMBERS = itertools.count(1)


class FastProvider:
    """Answers. `refresh_delay`: seconds that every refresh takes."""

    def __init__(self, issuer: str, refresh_delay: float) -> None:
        self.issuer = issuer
        self.refresh_delay = refresh_delay
        self._key = jose.rsa()
        private = self._key.private_key
        assert private is not None
        self._private = private
        head = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        self._head = jose.b64(json.dumps(head).encode())

    async def answer(self, path: str, fields: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Return status and content of an answer."""
        if path == "/token":
            return 200, await self._token(dict(parse_qsl(body.decode())))
        if path.startswith("/slow"):
            if not fields.get("authorization", "").startswith("Bearer "):
                return 401, {}
            await asyncio.sleep(SLOW)
            return 200, {"slow": True}
        if path == "/jwks":
            return 200, {"keys": [jose.jwk(self._key, kid="one", use="sig", alg="RS256")]}
        if path == "/.well-known/openid-configuration":
            return 200, self._metadata()
        return 404, {}

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    async def _token(self, form: dict[str, str]) -> dict[str, Any]:
        number = next(NUMBERS)
        granted: dict[str, Any] = {
            "access_token": f"access-{number}-" + "x" * 700,
            "refresh_token": f"refresh-{number}",
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }
        if form["grant_type"] == "refresh_token":
            await asyncio.sleep(self.refresh_delay)
            return granted
        who, _, nonce = form["code"].partition(".")
        return {**granted, "id_token": self._id_token(who, nonce)}

    def _id_token(self, who: str, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": f"user-{who}", "sid": f"sid-{who}",
            "nonce": nonce, "iat": now, "exp": now + 300, "name": f"User {who}",
        }  # fmt: skip
        signed = f"{self._head}.{jose.b64(json.dumps(claims).encode())}"
        signature = self._private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{jose.b64(signature)}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip("\r\n").split("\r\n")
                pairs = (line.partition(":")[::2] for line in lines)
                fields = {name.lower(): value.strip() for name, value in pairs}
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                path = first.split(" ")[1].partition("?")[0]
                status, content = await self.answer(path, fields, body)
                payload = json.dumps(content).encode()
                writer.write(
                    b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (status, len(payload), payload)
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def run(port: int, refresh_delay: float) -> None:
    """Serve on loopback until SIGTERM."""
    provider = FastProvider(f"http://127.0.0.1:{port}", refresh_delay)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await asyncio.start_server(provider.serve, "127.0.0.1", port, backlog=2048)
    await stopped.wait()


def main() -> None:
    """Read the options and serve."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.provider", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--refresh-delay", type=float, default=0.0)
    given = options.parse_args()
    asyncio.run(run(given.port, given.refresh_delay))


if __name__ == "__main__":
    main()
