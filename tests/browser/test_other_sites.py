"""Pages of other sites: a link works, everything else they try has no effect on the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.support.window import QUICKLY

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.support.window import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLANK = b"<!doctype html><html lang=en><title>Elsewhere</title><body></body></html>"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(BLANK), BLANK)
)
Attack = Callable[["Page", str], Awaitable[None]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def elsewhere(foreign_port: int) -> str:
    """The origin of another site: `127.0.0.1` is cross-site to `localhost`."""
    return f"http://127.0.0.1:{foreign_port}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def foreign_port() -> AsyncIterator[int]:
    """Where pages of others are served."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_a_link_from_another_site_arrives_signed_in(window: Window, elsewhere: str) -> None:
    """The Strict cookie is not sent with such a link, and yet the application knows its user."""
    await window.sign_in()
    await window.page.goto(elsewhere)
    await window.page.evaluate(ADD_LINK, f"{window.demo.url}/?from=elsewhere")
    await window.page.get_by_role("link").click()

    await expect(window.part("user-name")).to_have_text("Alice Adams")
    await window.call("me", 200)


async def fetch_with_credentials(page: Page, base: str) -> None:
    """Read the session, and send what changes something."""
    for path, method in (
        ("/bff/session", "GET"),
        ("/api/me", "GET"),
        ("/api/echo", "POST"),
        ("/bff/logout", "POST"),
        ("/bff/refresh", "POST"),
    ):
        assert await page.evaluate(FETCH, [f"{base}{path}", method, "cors"]) == "refused"
        assert await page.evaluate(FETCH, [f"{base}{path}", method, "no-cors"]) in OPAQUE


async def post_a_form_to_logout(page: Page, base: str) -> None:
    """Navigate the whole window to the sign-out, as a form can without being asked."""
    await page.evaluate(SUBMIT_FORM, f"{base}/bff/logout")
    await expect(page).to_have_title("This request was not made from our own page")


async def load_an_image(page: Page, base: str) -> None:
    """Make the browser ask the API as a part of the page."""
    assert await page.evaluate(LOAD_IMAGE, f"{base}/api/me") == "refused"


async def load_a_script(page: Page, base: str) -> None:
    """Run the API's answer as a script, or the session's."""
    assert await page.evaluate(LOAD_SCRIPT, f"{base}/api/me") == "refused"
    assert await page.evaluate(LOAD_SCRIPT, f"{base}/bff/session") == "refused"


async def open_a_socket(page: Page, base: str) -> None:
    """Open a WebSocket in the user's name."""
    assert await page.evaluate(OPEN_SOCKET, f"{base.replace('http', 'ws')}/api/ws") == "refused"


async def frame_the_pages(page: Page, base: str) -> None:
    """Show our pages inside the other one, for clicks to be stolen."""
    for path in ("/", "/bff/logout", "/api/me"):
        await page.evaluate(ADD_FRAME, f"{base}{path}")
        frame = page.frames[-1]
        await frame.wait_for_load_state()
        assert await frame.get_by_role("button").count() == 0


async def ask_for_more_than_a_form_can(page: Page, base: str) -> None:
    """Send methods, types and fields that a browser asks about first: it is told no."""
    for path, options in (
        ("/api/echo", {"method": "PUT"}),
        ("/bff/sessions", {"method": "DELETE"}),
        ("/bff/logout", {"method": "POST", "headers": {"X-CSRF": "1"}}),
        ("/bff/session", {"method": "GET", "headers": {"X-Bff-Key": "guess"}}),
        ("/api/echo", {"method": "POST", "headers": {"Content-Type": "application/json"}}),
    ):
        assert await page.evaluate(FETCH_MORE, [f"{base}{path}", options]) == "refused"


async def send_a_beacon(page: Page, base: str) -> None:
    """Post in the background, as pages do when they are left."""
    for path in ("/bff/logout", "/bff/refresh", "/api/echo"):
        await page.evaluate("(url) => navigator.sendBeacon(url, 'x=1')", f"{base}{path}")
        await page.wait_for_function(HAS_ANSWERED, arg=f"{base}{path}", timeout=QUICKLY)


async def listen_to_the_events(page: Page, base: str) -> None:
    """Hear what happens to the user's session."""
    assert await page.evaluate(LISTEN, f"{base}/bff/events") == "refused"


async def load_other_parts(page: Page, base: str) -> None:
    """Make the API's answer a style sheet, a sound, a film, or an object."""
    for kind in ("link", "audio", "video", "object"):
        assert await page.evaluate(LOAD_PART, [kind, f"{base}/api/me"]) == "refused", kind


async def post_forms_into_a_frame(page: Page, base: str) -> None:
    """Post without leaving the page, with a body that reads as JSON."""
    for path in ("/bff/logout", "/bff/refresh", "/api/echo"):
        async with page.expect_response(f"{base}{path}") as answered:
            await page.evaluate(SUBMIT_INTO_FRAME, f"{base}{path}")
        assert (await answered.value).status in {401, 403}


async def look_into_a_window(page: Page, base: str) -> None:
    """Open the application in a window, and read it."""
    async with page.expect_popup() as opened:
        await page.evaluate("(url) => { globalThis.opened = open(url); }", f"{base}/")
    popup = await opened.value
    await popup.wait_for_load_state()
    assert await page.evaluate(READ_OPENED) == "refused"
    await popup.close()


ATTACKS: list[Attack] = [
    fetch_with_credentials,
    post_a_form_to_logout,
    load_an_image,
    load_a_script,
    open_a_socket,
    frame_the_pages,
    ask_for_more_than_a_form_can,
    send_a_beacon,
    listen_to_the_events,
    load_other_parts,
    post_forms_into_a_frame,
    look_into_a_window,
]


@pytest.mark.parametrize(
    ("host", "refusal"),
    [
        ("127.0.0.1", "Please sign in"),
        ("localhost", "This request was not made from our own page"),
    ],
    ids=["another site", "a sibling"],
)
async def test_another_site_cannot_act_for_the_user(
    window: Window, foreign_port: int, host: str, refusal: str
) -> None:
    """Whatever a page of another origin tries, it is refused, and the session goes on unchanged.

    Requests of another site come without the cookie. Another port of `localhost` is a sibling, as a
    subdomain would be: its requests carry the cookie.
    """
    page = f"http://{host}:{foreign_port}"
    await window.sign_in()
    session, cookies = await window.session_id(), await window.cookies()
    for attack in ATTACKS:
        await window.page.goto(page)
        await attack(window.page, window.demo.url)
        assert await window.session_id() == session, attack.__name__
        assert await window.cookies() == cookies, attack.__name__

    await window.page.goto(page)
    await window.page.evaluate(SUBMIT_FORM, f"{window.demo.url}/api/echo")
    await expect(window.page).to_have_title(refusal)
    await window.visit()
    await expect(window.part("user-name")).to_have_text("Alice Adams")
    assert await window.session_id() == session
    window.complaints.clear()  # those of the other page


OPAQUE = ("opaque", "refused")
ADD_LINK = """
(href) => {
  document.body.append(Object.assign(document.createElement('a'), { href, textContent: 'go' }));
}
"""
FETCH = """
([url, method, mode]) => fetch(url, { method, mode, credentials: 'include' })
  .then((answer) => answer.type, () => 'refused')
"""
SUBMIT_FORM = """
(action) => {
  const form = Object.assign(document.createElement('form'), { action, method: 'post' });
  document.body.append(form);
  form.submit();
}
"""
LOAD_IMAGE = """
(src) => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve('loaded');
  image.onerror = () => resolve('refused');
  image.src = src;
})
"""
LOAD_SCRIPT = """
(src) => new Promise((resolve) => {
  const script = document.createElement('script');
  script.onload = () => resolve('loaded');
  script.onerror = () => resolve('refused');
  script.src = src;
  document.body.append(script);
})
"""
OPEN_SOCKET = """
(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve('open');
  socket.onerror = () => resolve('refused');
})
"""
ADD_FRAME = """
(src) => new Promise((resolve) => {
  const frame = document.createElement('iframe');
  frame.onload = () => resolve();
  frame.src = src;
  document.body.append(frame);
})
"""
FETCH_MORE = """
([url, options]) => fetch(url, { ...options, mode: 'cors', credentials: 'include' })
  .then((answer) => answer.type, () => 'refused')
"""
LISTEN = """
(url) => new Promise((resolve) => {
  const events = new EventSource(url, { withCredentials: true });
  events.onopen = () => { events.close(); resolve('open'); };
  events.onerror = () => { events.close(); resolve('refused'); };
})
"""
LOAD_PART = """
([kind, url]) => new Promise((resolve) => {
  const part = document.createElement(kind);
  if (kind === 'link') Object.assign(part, { rel: 'stylesheet', href: url });
  else if (kind === 'object') part.data = url;
  else Object.assign(part, { preload: 'auto', src: url });
  part.onload = part.onloadeddata = () => resolve('loaded');
  part.onerror = () => resolve('refused');
  document.body.append(part);
})
"""
SUBMIT_INTO_FRAME = """
(action) => {
  const frame = Object.assign(document.createElement('iframe'), { name: `frame${Math.random()}` });
  const form = Object.assign(document.createElement('form'), {
    action, method: 'post', enctype: 'text/plain', target: frame.name,
  });
  form.append(Object.assign(document.createElement('input'), { name: '{"a":"', value: '"}' }));
  document.body.append(frame, form);
  form.submit();
}
"""
HAS_ANSWERED = """
(url) => performance.getEntriesByName(url).length > 0
"""
READ_OPENED = """
() => {
  try { return opened.document.title; } catch { return 'refused'; }
}
"""
