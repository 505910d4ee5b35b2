"""The dev provider: a small but proper OpenID provider for the demo and the tests.

Authorization code with PKCE, refresh tokens with rotation and reuse detection, client credentials,
userinfo, revocation, RP-initiated and back-channel logout, key rotation. Three users, no passwords:
whoever can reach it can be anyone, so it answers loopback only. It keeps everything in memory; the
demo gives it a file for the time between two runs.

A request walks from `app` to one endpoint file (`authorize`, `token_endpoint`, `userinfo`,
`logout`, `metadata`, `dev_pages`), which judges it by the pure files beside it and acts on
`state.ProviderState`.
"""

from __future__ import annotations

from bff.demo.provider.app import create_provider
from bff.demo.provider.config import Client, Lifetimes, ProviderConfig
from bff.demo.provider.users import USERS, User

__all__ = ["USERS", "Client", "Lifetimes", "ProviderConfig", "User", "create_provider"]
