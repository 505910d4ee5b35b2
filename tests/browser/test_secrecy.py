"""What the browser gets to see: one cookie that says nothing, and never a token."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import redis
from playwright.async_api import expect

from bff.demo.runner import CLIENT_ID
from bff.sessions import names
from bff.sessions.cookies import session_cookie
from bff.sessions.embedded import EmbeddedRedis
from bff.sessions.opener import PREFIX
from bff.sessions.seal import Sealer
from bff.sessions.session import Session, Tokens

if TYPE_CHECKING:
    from tests.support.demo import Demo
    from tests.support.relay import Relay
    from tests.support.window import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

JWT = re.compile(r"eyJ[\w-]+\.eyJ[\w-]*")
EVERYTHING_A_SCRIPT_CAN_READ = """
async () => JSON.stringify({
  cookie: document.cookie,
  local: { ...localStorage },
  session: { ...sessionStorage },
  databases: (await indexedDB.databases()).map(({ name }) => name),
  caches: await caches.keys(),
  workers: (await navigator.serviceWorker.getRegistrations()).length,
  name: window.name,
  history: history.state,
  resources: performance.getEntries().map(({ name }) => name),
  referrer: document.referrer,
  globals: Object.keys(window).filter((key) => typeof window[key] === 'string'),
  page: document.documentElement.outerHTML,
})
"""


async def test_no_token_reaches_the_browser(window: Window, relay: Relay) -> None:
    """In all the bytes of a whole visit there is no token but the hint of the sign-out redirect."""
    relay.received.clear()
    await window.sign_in()
    tokens = stored_tokens(window.demo, (await window.cookies())["bff"])
    assert JWT.search(tokens.access_token)
    assert tokens.refresh_token
    for name in ("public", "me", "orders", "admin"):
        await window.call(name, 200)
    readable = await window.page.evaluate(REFRESH)
    renewed = stored_tokens(window.demo, (await window.cookies())["bff"])
    assert renewed.refresh_token != tokens.refresh_token
    assert await window.page.evaluate(TALK_OVER_A_SOCKET) == "hello"
    await window.visit("/bff/session")
    await window.visit()
    await expect(window.part("user-name")).to_be_visible()
    readable += await window.page.evaluate(EVERYTHING_A_SCRIPT_CAN_READ)
    await window.part("sign-out").click()
    await expect(window.part("sign-in")).to_be_visible()
    readable += await window.page.evaluate(EVERYTHING_A_SCRIPT_CAN_READ)

    wire = bytes(relay.received).decode("latin-1")
    hints = [line for line in wire.splitlines() if "id_token_hint=" in line]
    assert [line.lower().startswith(f"location: {window.demo.provider}/") for line in hints] == [
        True
    ]
    wire = wire.replace(hints[0], "")
    for where in (wire, readable):
        assert "bff demo" in where
        assert not JWT.search(where)
        for secret in secrets_of(tokens) | secrets_of(renewed):
            assert secret not in where
    assert not JWT.search("".join(await window.history()))


async def test_a_script_can_read_nothing(window: Window) -> None:
    """While somebody is signed in, cookies and storage look empty to a script, as the page says."""
    await window.visit()
    await expect(window.part("readable")).to_contain_text("empty")
    await window.sign_in()

    for thing in ("document.cookie.length", "localStorage.length", "sessionStorage.length"):
        assert await window.page.evaluate(thing) == 0
    told = await window.part("readable").locator("dd").all_inner_texts()
    assert told == ["empty", "empty", "empty"]


async def test_the_cookies_are_as_the_contract_says(window: Window) -> None:
    """The session cookie is HttpOnly and Strict and ends with the browser; it is new every time."""
    await window.visit("/bff/login")
    (login,) = await window.context.cookies(window.demo.url)
    assert (login.get("name"), login.get("path")) == ("bff-login", "/")
    assert (login.get("httpOnly"), login.get("sameSite")) == (True, "Lax")
    assert 590 < login.get("expires", 0) - time.time() < 601
    assert len(login.get("value", "")) < 128

    await window.choose("Alice Adams")
    await expect(window.part("user-name")).to_be_visible()
    by_name = {each.get("name"): each for each in await window.context.cookies(window.demo.url)}
    session = by_name["bff"]
    assert (session.get("domain"), session.get("path")) == ("localhost", "/")
    assert (session.get("httpOnly"), session.get("sameSite")) == (True, "Strict")
    assert session.get("expires") == -1
    assert set(by_name) <= {"bff", "bff-login"}

    await window.visit("/bff/login")
    await expect(window.part("user-name")).to_be_visible()
    assert (await window.cookies())["bff"] != session.get("value")


def stored_tokens(demo: Demo, cookie: str) -> Tokens:
    """The tokens of the session behind a cookie, as Redis has them, sealed."""
    secret = (demo.folder / "secret").read_text(encoding="ascii").strip()
    reader = session_cookie([secret], loopback_http=True, same_site="strict")
    session_id = reader.read([(b"cookie", f"bff={cookie}".encode())])
    assert session_id is not None
    key = names.session_key(session_id)
    with redis.Redis.from_url(EmbeddedRedis(demo.folder).url) as client:
        record = client.get(names.record(key))
    assert isinstance(record, bytes)
    plain = Sealer([secret], "session").open(record[PREFIX:], names.record(key).encode())
    return Session.parse(plain, key, 0, 0.0).tokens


def secrets_of(tokens: Tokens) -> set[str]:
    """The tokens, and the signatures by which parts of one would be known again."""
    whole = {tokens.access_token, tokens.id_token, tokens.refresh_token or ""} - {""}
    assert CLIENT_ID not in whole
    return whole | {token.rpartition(".")[2] for token in whole}


REFRESH = """
() => fetch('/bff/refresh', { method: 'POST' }).then((answer) => answer.text())
"""
TALK_OVER_A_SOCKET = """
() => new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/api/ws');
  socket.onopen = () => socket.send('hello');
  socket.onmessage = ({ data }) => { resolve(data); socket.close(); };
  socket.onerror = () => reject(new Error('no socket'));
})
"""
