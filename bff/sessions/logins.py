"""Logins in progress: from `/bff/login` to the callback, ten minutes at most, each taken once.

A login is kept under a hash of the browser's login cookie *and* its `state`, so that only the
browser that began it can find it, and another one that learnt the `state` cannot even use it up
(RFC 9700 4.7; the trap of CVE-2025-68158). The same few verbs keep whatever else must be used at
most once: the addresses of the provider's sign-out and the `state` that comes back from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, Self

from bff.sessions import names
from bff.sessions.redis import Redis, Script
from bff.sessions.seal import BrokenSealError, Sealer
from bff.sessions.session import FIRST_PROVIDER

LOGIN_TTL = 600
SIGN_OUT_TTL = 60
LOGOUT_STATE_TTL = 600

KEEP = Script("""
local now = redis.call('TIME')
local time = string.format('%d.%06d', now[1], now[2])
redis.call('SET', KEYS[1], time .. ' ' .. ARGV[1], 'EX', ARGV[2])
""")


@dataclass(frozen=True, slots=True)
class Login:
    """What must be remembered of an authorization request until its answer comes.

    `max_age`, `acr_values`, `essential` (claims) and `sub` are what was asked of the provider, to
    be checked on return. A `silent` one was begun in a hidden frame or a popup.
    `replaces` is the key of the session that the browser had: the callback is reached from another
    site, where a Strict cookie is not sent.
    `started_at` is when it was kept, in seconds since the epoch by the clock of Redis: the one
    clock that all workers share, so that it can be compared with the time of a logout.
    `proof_key` is what is kept of the key that its tokens are to be bound to (RFC 9449).
    """

    iss: str
    nonce: str
    code_verifier: str
    return_to: str
    max_age: int | None = None
    acr_values: str | None = None
    replaces: str | None = None
    essential: tuple[str, ...] = ()
    sub: str | None = None
    silent: bool = False
    provider: str = FIRST_PROVIDER
    started_at: float = 0.0
    proof_key: str | None = None

    def dump(self) -> bytes:
        """Return the login as bytes to seal, without what is as usual."""
        unusual = {
            name: value
            for name in FIELDS
            if (value := getattr(self, name)) is not None and value is not False and value != ()
        }
        return _ENCODER.encode(unusual).encode()

    @classmethod
    def parse(cls, plain: bytes, started_at: float) -> Self:
        """Return the login that `dump` wrote."""
        kept: dict[str, Any] = _DECODER.decode(plain.decode())
        kept["started_at"] = started_at
        kept["essential"] = tuple(kept.get("essential", ()))
        return cls(**kept)


FIELDS = tuple(one.name for one in fields(Login))
_ENCODER, _DECODER = json.JSONEncoder(separators=(",", ":")), json.JSONDecoder()


class Logins:
    """The logins in progress, in Redis. Methods raise StoreUnavailableError when it is away."""

    def __init__(self, redis: Redis, sealer: Sealer) -> None:
        self._redis = redis
        self._sealer = sealer

    async def keep(self, browser: str, state: str, login: Login) -> None:
        """Keep a login for the browser that holds the login cookie `browser`."""
        name = names.login(browser, state)
        sealed = self._sealer.seal(login.dump(), name.encode())
        await self._redis.run(KEEP, [name], [sealed, LOGIN_TTL])

    async def take(self, browser: str, state: str) -> Login | None:
        """Return the login and forget it; None if it is not there, not of this browser, or old."""
        name = names.login(browser, state)
        found = await self._redis.take(name)
        if found is None:
            return None
        time, _, sealed = found.partition(b" ")
        plain = self._open(sealed, name)
        return None if plain is None else Login.parse(plain, float(time))

    async def latest_session(self, browser: str, key: str) -> str | None:
        """Note the session that this browser was given; return the one before, if it is recent.

        Two tabs may sign in at once; neither knows of the other's session when it begins.
        """
        before = await self._redis.swap(names.once("browser", browser), key.encode(), LOGIN_TTL)
        return None if before is None else before.decode()

    async def keep_sign_out(self, handle: str, url: str) -> None:
        """Keep the address of the provider's sign-out, with its `id_token_hint`, for a minute."""
        name = names.once("sign-out", handle)
        await self._redis.put(name, self._sealer.seal(url.encode(), name.encode()), SIGN_OUT_TTL)

    async def take_sign_out(self, handle: str) -> str | None:
        """Return that address and forget it; None if it was taken before or is too old."""
        name = names.once("sign-out", handle)
        plain = self._open(await self._redis.take(name), name)
        return None if plain is None else plain.decode()

    async def keep_logout_state(self, state: str) -> None:
        """Keep the `state` of a sign-out at the provider until it comes back."""
        await self._redis.put(names.once("logout-state", state), b"1", LOGOUT_STATE_TTL)

    async def take_logout_state(self, state: str) -> bool:
        """Whether this `state` was ours and had not come back before."""
        return await self._redis.take(names.once("logout-state", state)) is not None

    async def seen(self, iss: str, jti: str) -> bool:
        """Whether a logout token has been acted on already (OIDC Back-Channel Logout 2.6, 8)."""
        return await self._redis.get(names.once("jti", iss, jti)) is not None

    async def note_seen(self, iss: str, jti: str, seconds: float) -> None:
        """Note that a logout token has been acted on, for as long as it would be valid."""
        await self._redis.put(names.once("jti", iss, jti), b"1", seconds)

    def _open(self, sealed: bytes | None, name: str) -> bytes | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed, name.encode())
        except BrokenSealError:
            return None
