"""The session: its record, and the clocks that rule it. Pure; times are seconds since the epoch.

Two clocks end a session: idle (nobody used it for BFF_SESSION_IDLE_TIMEOUT) and absolute
(BFF_SESSION_MAX_LIFETIME after sign-in, whatever happens). A third one rules its access token:
it is refreshed when less than 60 s are left, or a fifth of its lifetime if that is shorter.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Self

from bff.base64url import base64url
from bff.oidc.dpop import ProofKey
from bff.sessions.device import Device
from bff.sessions.packing import pack, unpack

REFRESH_AHEAD = 60.0
TOUCH_EVERY = 60.0
FACTS_LENGTH = 4
FIRST_PROVIDER = "default"
LEFT_OUT = (1, 2)  # in the order that tokens are packed in: refresh token and ID token


_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave us: rules of RFC 6749 5.1 applied, lifetimes made absolute.

    `expires_at` is None where the provider named no lifetime. `scope` is what was granted. Unless
    `whole`, the ID token and what a refresh token says are left out; that there is one is not.
    """

    access_token: str
    obtained_at: float
    expires_at: float | None
    refresh_token: str | None
    id_token: str
    scope: frozenset[str]
    whole: bool = True

    @classmethod
    def granted(
        cls,
        *,
        access_token: str,
        expires_in: float | None,
        refresh_token: str | None,
        id_token: str,
        scope: frozenset[str],
        now: float,
    ) -> Self:
        """Return tokens that were given just now for `expires_in` seconds."""
        expires_at = None if expires_in is None else now + expires_in
        return cls(access_token, now, expires_at, refresh_token, id_token, scope)

    def expired(self, now: float) -> bool:
        """Whether the access token is past its time."""
        return _expired(self.expires_at, now)

    def due(self, now: float) -> bool:
        """Whether the access token is about to end, so that it should be refreshed."""
        return _due(self.obtained_at, self.expires_at, now)


@dataclass(frozen=True, slots=True)
class UpstreamToken:
    """An access token for one upstream alone. It is `exchanged` where the session's own was."""

    access_token: str
    obtained_at: float
    expires_at: float | None
    scope: frozenset[str]
    exchanged: bool

    def expired(self, now: float) -> bool:
        """Whether it is past its time."""
        return _expired(self.expires_at, now)

    def due(self, now: float) -> bool:
        """Whether it is about to end, so that the next one should be asked for."""
        return _due(self.obtained_at, self.expires_at, now)


NO_UPSTREAM_TOKENS: Mapping[str, UpstreamToken] = MappingProxyType({})


def _expired(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and now >= expires_at


def _due(obtained_at: float, expires_at: float | None, now: float) -> bool:
    if expires_at is None:
        return False
    return expires_at - now < min(REFRESH_AHEAD, (expires_at - obtained_at) / 5)


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser.

    `key` is the hash of the session id: the id itself is known to the browser alone. `generation`
    counts the writes of the record, for compare-and-set. `claims` are those of the ID token and the
    userinfo answer. `sid` is the session at the provider, where it names one. `upstream_tokens` are
    for routes that want their own, by the name of what they were asked for. `provider` is the
    name, in our configuration, of the one that signed the user in; `session_state` what it says of
    its own session, where a page can watch that (OIDC Session Management 1.0, 2). `proof_key` is
    the key that all its tokens are bound to; None where they are bearer tokens (RFC 9449).
    """

    key: str
    generation: int
    iss: str
    sub: str
    sid: str | None
    claims: Mapping[str, Any]
    tokens: Tokens
    created_at: float
    last_used_at: float
    ends_at: float
    device: Device
    upstream_tokens: Mapping[str, UpstreamToken] = field(default_factory=lambda: NO_UPSTREAM_TOKENS)
    provider: str = FIRST_PROVIDER
    session_state: str | None = None
    proof_key: ProofKey | None = None

    @property
    def display_id(self) -> str:
        """A name for the session that opens nothing: safe to show to the user."""
        digest = hashlib.sha256(b"display" + self.key.encode()).digest()
        return base64url(digest[:15])

    def idle_ends_at(self, idle_timeout: float) -> float:
        """When the session ends if nobody uses it again."""
        return min(self.last_used_at + idle_timeout, self.ends_at)

    def alive(self, now: float, idle_timeout: float) -> bool:
        """Whether neither clock has run out."""
        return now < self.idle_ends_at(idle_timeout)

    def touch_due(self, now: float, idle_timeout: float) -> bool:
        """Whether a use now is worth a write: at most one a minute, oftener for short time-outs."""
        return now - self.last_used_at >= min(TOUCH_EVERY, idle_timeout / 4)

    def with_tokens(self, tokens: Tokens) -> Self:
        """Return the session after a refresh: what was exchanged for the old token is dropped."""
        kept = {name: one for name, one in self.upstream_tokens.items() if not one.exchanged}
        return replace(self, tokens=tokens, upstream_tokens=kept, generation=self.generation + 1)

    def with_upstream_token(
        self, name: str, token: UpstreamToken, refresh_token: str | None
    ) -> Self:
        """Return the session with a token for an upstream, and the refresh token there is now."""
        now = token.obtained_at
        kept = {other: one for other, one in self.upstream_tokens.items() if not one.expired(now)}
        return replace(
            self,
            tokens=replace(self.tokens, refresh_token=refresh_token),
            upstream_tokens={**kept, name: token},
            generation=self.generation + 1,
        )

    def at_hand(self) -> Self:
        """Return what requests need, in half the memory: no refresh token, no ID token.

        Those who need these read the record again, once nobody else may change it.
        """
        tokens = self.tokens
        refresh_token = None if tokens.refresh_token is None else ""
        lean = replace(tokens, refresh_token=refresh_token, id_token="", whole=False)
        return replace(self, tokens=lean)

    def dump(self) -> bytes:
        """Return the part of the record that is sealed: everything but the bookkeeping.

        Raises ValueError for a session without all its tokens.
        """
        tokens = self.tokens
        if not tokens.whole:
            raise ValueError("a session at hand is no record: read it again")
        facts: list[Any] = [
            self.iss, self.sub, self.sid, self.claims, self.created_at, self.ends_at,
            tokens.obtained_at, tokens.expires_at, " ".join(sorted(tokens.scope)),
            self.device.address, self.device.browser,
        ]  # fmt: skip
        packed = [tokens.access_token, tokens.refresh_token, tokens.id_token]
        unusual: dict[str, Any] = {}
        if self.upstream_tokens:
            unusual["upstream_tokens"] = [
                [name, one.obtained_at, one.expires_at, " ".join(sorted(one.scope)), one.exchanged]
                for name, one in self.upstream_tokens.items()
            ]
            packed += [one.access_token for one in self.upstream_tokens.values()]
        if self.provider != FIRST_PROVIDER:
            unusual["provider"] = self.provider
        if self.session_state is not None:
            unusual["session_state"] = self.session_state
        if self.proof_key is not None:
            unusual["proof_key"] = self.proof_key.text
        if unusual:
            facts.append(unusual)
        written = _ENCODER.encode(facts).encode()
        return len(written).to_bytes(FACTS_LENGTH, "big") + written + pack(packed)

    @classmethod
    def parse(
        cls, plain: bytes, key: str, generation: int, last_used_at: float, *, whole: bool = True
    ) -> Self:
        """Return the session that `dump` wrote, or unless `whole` what it has `at_hand`."""
        end = FACTS_LENGTH + int.from_bytes(plain[:FACTS_LENGTH], "big")
        (iss, sub, sid, claims, created_at, ends_at, obtained_at, expires_at, scope,
         address, browser, *more) = json.loads(plain[FACTS_LENGTH:end])  # fmt: skip
        access, refresh, id_token, *others = unpack(plain[end:], () if whole else LEFT_OUT)
        unusual: dict[str, Any] = more[0] if more else {}
        upstream_tokens = {
            name: UpstreamToken(value or "", obtained, expires, _scope(words), exchanged)
            for (name, obtained, expires, words, exchanged), value in zip(
                unusual.get("upstream_tokens", ()), others, strict=True
            )
        }
        proof_key: str | None = unusual.get("proof_key")
        tokens = Tokens(
            access or "", obtained_at, expires_at, refresh, id_token or "", _scope(scope), whole
        )
        return cls(
            key,
            generation,
            sys.intern(iss),
            sub,
            sid,
            {sys.intern(name): value for name, value in claims.items()},
            tokens,
            created_at,
            last_used_at,
            ends_at,
            Device(address, sys.intern(browser)),
            upstream_tokens or NO_UPSTREAM_TOKENS,
            sys.intern(unusual.get("provider", FIRST_PROVIDER)),
            unusual.get("session_state"),
            None if proof_key is None else ProofKey.parse(proof_key),
        )


@lru_cache(maxsize=256)
def _scope(words: str) -> frozenset[str]:
    """Return a scope, the same object for all whom the same was granted."""
    return frozenset(words.split())


def absolute_end(now: float, longest: float, claims: Mapping[str, Any]) -> float:
    """Return when a session that begins now ends whatever happens, in whole seconds.

    That is after `longest` seconds, or when the provider says that its own session ends
    (`session_expiry`, a time, where the ID token has one), if that is sooner.
    """
    end = now + longest
    expiry = claims.get("session_expiry")
    if isinstance(expiry, int | float) and not isinstance(expiry, bool):
        end = min(end, expiry)
    return math.floor(end)
