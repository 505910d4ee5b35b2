"""People who are signed in: by the pages of the dev provider, or, thousands of them, by the store.

A session that is written through the store is the record that a login writes, with tokens as a
usual provider makes them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from bff.sessions import names
from bff.sessions.cookies import session_cookie
from bff.sessions.redis import connect
from bff.sessions.seal import Sealer
from bff.sessions.store import SessionStore
from tests.bench.machine import CannotMeasureError
from tests.bench.neighbours import APACHE_COOKIE
from tests.bench.sessions import LIFETIMES, create, long_tokens, new_session
from tests.support.history import Page
from tests.support.site import SECRET, sign_in
from tests.support.user_agent import UserAgent

COOKIE = "bff"
LIFETIME = 7200


async def at_the_service(origin: str, redis_url: str) -> str:
    """Sign alice in, and see that her very token reaches the upstream; return her cookie."""
    async with UserAgent(origin) as browser:
        cookie = _cookie(browser, COOKIE, await sign_in(browser))
        answer = await browser.fetch("/api/token")
    identifier = cookie.partition("=")[2].rpartition(".")[0]
    async with _store(redis_url) as store:
        session = await store.reload(names.session_key(identifier))
    if session is None or answer.text != f"Bearer {session.tokens.access_token}":
        raise CannotMeasureError("the upstream did not get the token of the session")
    return cookie


async def at_apache(origin: str, path: str) -> str:
    """Sign alice in by asking for a path; return her cookie."""
    async with UserAgent(origin) as browser:
        await browser.navigate(path)
        return _cookie(browser, APACHE_COOKIE, await browser.submit(button="alice"))


async def by_the_store(redis_url: str, issuer: str, number: int, *, due: bool) -> tuple[str, ...]:
    """Write sessions as logins do; return their cookies. `due`: their tokens have expired."""
    cookie = session_cookie([SECRET], loopback_http=True, same_site="strict")
    now = time.time()
    cookies, sessions = list[str](), []
    for _ in range(number):
        identifier, sent = cookie.issue(os.urandom(32))
        session = new_session(long_tokens)
        ends = now - 1 if due else now + LIFETIME
        tokens = replace(session.tokens, obtained_at=now - 3600, expires_at=ends)
        key = names.session_key(identifier)
        sessions.append(replace(session, key=key, iss=issuer, tokens=tokens))
        cookies.append(sent.partition(";")[0])
    async with _store(redis_url) as store:
        await create(store, sessions)
    return tuple(cookies)


def _cookie(browser: UserAgent, name: str, page: Page) -> str:
    value = browser.cookies.get(name)
    if page.status != 200 or value is None:
        raise CannotMeasureError(f"no login at {browser.base_url}: {page.status}")
    return f"{name}={value}"


@contextlib.asynccontextmanager
async def _store(redis_url: str) -> AsyncIterator[SessionStore]:
    client = connect(redis_url)
    try:
        yield SessionStore(client, Sealer([SECRET], "session"), LIFETIMES)
    finally:
        await client.aclose()
