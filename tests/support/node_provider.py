"""Runs `tests/interop/provider/server.mjs`, node `oidc-provider`, as a process of the tests.

Flow: `NodeProvider(...)` starts it on a free loopback port and waits for its first line; `stop`
(or leaving the `with` block) ends it. What it reports afterwards is in `events`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.node import Node

START_SECONDS = 30.0
CLIENT_ID = "interop-client"
CLIENT_SECRET = "interop-secret of 32 characters, + & %"
SCOPES = "openid profile email offline_access orders:read"


def client_metadata(base_url: str, **changes: Any) -> dict[str, Any]:
    """The confidential client for a service at that origin; a change of None takes away.

    Source: OpenID Connect Dynamic Client Registration 1.0, section 2, and the logout specs.
    """
    metadata: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "client_name": "Interop",
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types": ["code"],
        "id_token_signed_response_alg": "RS256",
        "redirect_uris": [f"{base_url}/bff/callback"],
        "post_logout_redirect_uris": [f"{base_url}/bff/logged-out"],
        "backchannel_logout_uri": f"{base_url}/bff/backchannel-logout",
        "backchannel_logout_session_required": True,
        **changes,
    }
    return {name: value for name, value in metadata.items() if value is not None}


class NodeProvider:
    """One running provider.

    `client`: metadata of its one client; `api`: audience of the access tokens, which are JWTs
    then (None: opaque tokens, good at userinfo); `accounts`: login name to claims; `port`: 0 for
    a free one; `more`: further options, see server.mjs. Raises RuntimeError when it is not ready
    in 30 s.
    """

    def __init__(
        self,
        folder: Path,
        node: Node,
        client: Mapping[str, Any],
        *,
        api: str | None = None,
        access_token_seconds: int = 300,
        accounts: Mapping[str, Mapping[str, Any]] | None = None,
        port: int = 0,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.client_id: str = client["client_id"]
        self.client_secret: str = client.get("client_secret", "")
        self.api = api
        self.issuer = ""
        self.events: list[dict[str, Any]] = []
        self._begun = threading.Event()
        self._notes: deque[str] = deque(maxlen=40)
        options = {
            "port": port,
            "client": client,
            "api": api,
            "accessTokenTtl": access_token_seconds,
            "accounts": accounts or {},
            **(more or {}),
        }
        self._process = subprocess.Popen(
            [node.binary, "server.mjs"],
            cwd=folder,
            env={**os.environ, "PROVIDER_OPTIONS": json.dumps(options)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="provider output", daemon=True
        )
        self._reader.start()
        self._begun.wait(START_SECONDS)
        if not self.issuer:
            raise RuntimeError(f"the provider did not start: {self.stop()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def wait_for(self, event: str, count: int = 1, seconds: float = 5.0) -> dict[str, Any]:
        """The `count`th event of that name, once it has come. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.named(event)) < count:
                await asyncio.sleep(0.02)
        return self.named(event)[count - 1]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of that name so far."""
        return [found for found in self.events if found["event"] == event]

    def stop(self) -> str:
        """End the process and wait for it; returns the last of what it wrote in plain words."""
        self._process.terminate()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(5)
        assert not self._reader.is_alive(), "somebody else still holds the provider's output"
        with self._process:
            return "\n".join(self._notes)

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            if not line.startswith(b"{"):
                self._notes.append(line.decode(errors="replace").rstrip())
                continue
            message = json.loads(line)
            if "ready" in message:
                self.issuer = message["issuer"]
                self._begun.set()
            else:
                self.events.append(message)
        self._begun.set()
