"""What sessions cost: bytes in Redis, loads a second, and the time that an ending takes.

Run by hand, `python -m tests.bench.sessions`; it starts a Redis of its own and prints a table.
Tokens are made of random bytes, so that nothing in them is easier to pack than in real ones: a
signature and a `jti` are noise, and only the parts that repeat in real tokens repeat here.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis as sync_redis

from bff.sessions import names
from bff.sessions.cache import SessionCache
from bff.sessions.device import Device
from bff.sessions.redis import connect
from bff.sessions.seal import Sealer
from bff.sessions.session import Session, Tokens
from bff.sessions.store import EndReason, Lifetimes, SessionStore
from tests.support.processes import redis_server

ISSUER = "https://login.example.com/realms/customers"
CLIENT_ID = "shop-web"
LIFETIMES = Lifetimes(idle=1800, absolute=43_200)
AT_ONCE = 50
AIM = 2560


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    remark: str = ""


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def random_text(size: int) -> str:
    """Return text of this many characters that looks like an identifier."""
    return b64(os.urandom(size))[:size]


def jwt(typ: str, claims: dict[str, Any], size: int | None = None) -> str:
    """Return what looks like an RS256 token; `size`: its length, reached by a longer `jti`."""
    head = b64(json.dumps({"alg": "RS256", "typ": typ, "kid": "2026-11"}).encode())
    signature = b64(os.urandom(256))
    if size is not None:
        room = (size - len(head) - len(signature) - 2) * 3 // 4
        claims = {**claims, "jti": random_text(max(0, room - len(json.dumps({"jti": ""}))))}
    return f"{head}.{b64(json.dumps(claims).encode())}.{signature}"


def short_tokens(_sub: str, _sid: str, _claims: dict[str, Any]) -> tuple[str, str, str]:
    """Return access, refresh and ID token of 512 characters each."""
    return jwt("JWT", {}, 512), jwt("JWT", {}, 512), jwt("JWT", {}, 512)


def long_tokens(sub: str, sid: str, claims: dict[str, Any]) -> tuple[str, str, str]:
    """Return tokens as a common provider makes them: 1,000 to 1,300 characters each."""
    now = int(time.time())
    common = {"iss": ISSUER, "sub": sub, "sid": sid, "iat": now, "exp": now + 300}
    access = {
        **common, "aud": ["orders", "account"], "azp": CLIENT_ID, "jti": random_text(36),
        "scope": "openid profile email orders:read", "roles": ["customer", "reader"],
        "realm_access": {"roles": ["offline_access", "default-roles", "uma_authorization"]},
        "allowed-origins": ["https://shop.example.com"], "acr": "1", **claims,
    }  # fmt: skip
    refresh = {
        **common, "aud": ISSUER, "azp": CLIENT_ID, "jti": random_text(36), "typ": "Offline",
        "scope": "openid profile email offline_access orders:read",
    }  # fmt: skip
    identity = {
        **common, "aud": CLIENT_ID, "azp": CLIENT_ID, "nonce": random_text(43), "acr": "1",
        "at_hash": random_text(22), "auth_time": now, "jti": random_text(36), **claims,
    }  # fmt: skip
    return jwt("at+jwt", access), jwt("JWT", refresh), jwt("JWT", identity)


TokenMaker = Callable[[str, str, dict[str, Any]], tuple[str, str, str]]


def new_session(make: TokenMaker, sub: str | None = None) -> Session:
    """Return a session as a login makes it; each has a `sid`, and unless given a `sub`, its own."""
    sub, sid, now = sub or random_text(36), random_text(36), time.time()
    given, family = random_text(6), random_text(8)
    claims = {
        "name": f"{given} {family}", "given_name": given, "family_name": family,
        "preferred_username": f"{given}.{family}", "email": f"{given}.{family}@example.com",
        "email_verified": True,
    }  # fmt: skip
    access, refresh, identity = make(sub, sid, claims)
    return Session(
        key=names.session_key(random_text(43)),
        generation=0,
        iss=ISSUER,
        sub=sub,
        sid=sid,
        claims=claims,
        tokens=Tokens.granted(
            access_token=access,
            expires_in=300,
            refresh_token=refresh,
            id_token=identity,
            scope=frozenset(("openid", "profile", "email", "offline_access", "orders:read")),
            now=now,
        ),
        created_at=now,
        last_used_at=now,
        ends_at=int(now + LIFETIMES.absolute),
        device=Device("203.0.113.7", "Firefox on Windows"),
    )


async def create(store: SessionStore, sessions: Sequence[Session]) -> None:
    """Write sessions as logins do, several at once."""
    now = time.time()
    for start in range(0, len(sessions), AT_ONCE):
        await asyncio.gather(
            *(
                store.create(one, issued_at=now, started_at=now)
                for one in sessions[start : start + AT_ONCE]
            )
        )


async def memory(
    store: SessionStore, client: sync_redis.Redis, make: TokenMaker, number: int
) -> tuple[list[Row], list[str]]:
    """Fill Redis with sessions; say what each takes. Return their keys too."""
    client.flushall()
    sample = new_session(make)
    tokens = sample.tokens
    sizes = [len(tokens.access_token), len(tokens.refresh_token or ""), len(tokens.id_token)]
    before = int(client.info("memory")["used_memory"])
    keys: list[str] = []
    began = time.process_time()
    for start in range(0, number, AT_ONCE):
        batch = [new_session(make) for _ in range(min(AT_ONCE, number - start))]
        keys += [one.key for one in batch]
        await create(store, batch)
    spent = (time.process_time() - began) / number
    each = (int(client.info("memory")["used_memory"]) - before) / number
    found = await store.load(keys[0])
    assert found is not None
    record = names.record(found.key)
    indexes = [
        names.index(names.group_of_sub(found.iss, found.sub)),
        names.index(names.group_of_sid(found.iss, found.sid or "")),
    ]
    parts = [int(client.memory_usage(name) or 0) for name in (record, *indexes)]
    rows = [
        Row("tokens", f"{sum(sizes):,} B", " + ".join(map(str, sizes))),
        Row("sealed record", f"{client.strlen(record):,} B"),
        Row("memory a session", f"{each:,.0f} B", f"{number:,} sessions, all keys included"),
        Row("  of these", "", f"record {parts[0]}, index of sub {parts[1]}, of sid {parts[2]}"),
        Row("creating one", f"{spent * 1e6:,.0f} us", "CPU of the worker, making tokens included"),
    ]
    return rows, keys


async def loads(store: SessionStore, keys: Sequence[str]) -> list[Row]:
    """Say how fast sessions are found, with and without the cache."""
    rows: list[Row] = []
    cache = SessionCache(lambda: True, asyncio.get_running_loop().time, max_entries=len(keys))
    for what, kept, rounds in (("cold, in MGETs", None, 1), ("hot, from the cache", cache, 20)):
        store.cache = kept
        if kept is not None:
            for start in range(0, len(keys), AT_ONCE):
                await store.load_many(keys[start : start + AT_ONCE])
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            if kept is None:
                for start in range(0, len(keys), AT_ONCE):
                    await store.load_many(keys[start : start + AT_ONCE])
            else:
                for key in keys:
                    await store.load(key)
        number = rounds * len(keys)
        cpu = (time.process_time() - began_cpu) / number
        speed = number / (time.perf_counter() - began)
        rows.append(Row(f"load, {what}", f"{speed:,.0f}/s", f"{cpu * 1e6:.1f} us of CPU each"))
    store.cache = None
    return rows


async def endings(store: SessionStore, make: TokenMaker, numbers: Sequence[int]) -> list[Row]:
    """Say how long it takes to sign users out who have so many sessions."""
    rows: list[Row] = []
    for number in numbers:
        sub = random_text(36)
        await create(store, [new_session(make, sub) for _ in range(number)])
        began = time.perf_counter()
        ended = await store.end_sub(ISSUER, sub, int(time.time()), EndReason.BACKCHANNEL)
        took = time.perf_counter() - began
        assert len(ended) == number
        rows.append(
            Row(
                f"end {number:,} of a user",
                f"{took * 1e3:,.1f} ms",
                f"{took / number * 1e6:,.0f} us each",
            )
        )
    return rows


async def measure(url: str, number: int) -> list[Row]:
    """Take all figures."""
    redis = connect(url)
    store = SessionStore(redis, Sealer(["a secret for the bench " * 2], "session"), LIFETIMES)
    rows: list[Row] = []
    with sync_redis.Redis.from_url(url) as client:
        for what, make in (("1.5 KB of tokens", short_tokens), ("usual tokens", long_tokens)):
            part, keys = await memory(store, client, make, number)
            rows += [Row(f"-- {what}", ""), *part, *await loads(store, keys[:5_000])]
        rows += [Row("-- endings", ""), *await endings(store, short_tokens, (1, 100, 10_000))]
    await redis.aclose()
    return rows


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.sessions", description=__doc__)
    options.add_argument("--sessions", type=int, default=100_000)
    number: int = options.parse_args().sessions
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        rows = asyncio.run(measure(url, number))
    for row in rows:
        print(f"{row.what:<24}{row.figure:>14}  {row.remark}".rstrip())
    print(f"\nThe aim is less than {AIM:,} B a session with 1.5 KB of tokens.")


if __name__ == "__main__":
    main()
