"""Everything a running dev provider knows, in memory; the endpoints act on it."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING

from bff.demo.provider.expiring import ExpiringMap
from bff.demo.provider.grants import Grants
from bff.demo.provider.keys import SigningKeys
from bff.demo.provider.sso import SsoSessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import RSAKey

    from bff.demo.provider.authorization_request import AuthorizationRequest
    from bff.demo.provider.config import ProviderConfig


class ProviderState:
    """Configuration, keys, sessions, grants, open sign-in pages, and counters for tests."""

    def __init__(
        self,
        config: ProviderConfig,
        clock: Callable[[], float],
        random_token: Callable[[], str],
        make_key: Callable[[str], RSAKey],
    ) -> None:
        self.config = config
        self.clock = clock
        self.random_token = random_token
        self.counters: Counter[str] = Counter()
        self.keys = SigningKeys(random_token, make_key)
        self.sessions = SsoSessions(clock, random_token, config.lifetimes.sso_session)
        self.grants = Grants(
            clock, random_token, config.lifetimes, self._count_reuse, rotate=config.rotate
        )
        self.sign_ins: ExpiringMap[AuthorizationRequest] = ExpiringMap(
            clock, config.lifetimes.sign_in_page, limit=10_000
        )
        self.form_secret = secrets.token_bytes(32)

    def now(self) -> int:
        """Return the time in whole seconds since the epoch."""
        return int(self.clock())

    def _count_reuse(self, kind: str) -> None:
        self.counters[f"reuse_detected.{kind}"] += 1
