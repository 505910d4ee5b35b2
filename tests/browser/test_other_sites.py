"""Pages of other sites: a link works, everything else they try has no effect on the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

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
async def elsewhere() -> AsyncIterator[str]:
    """The origin of another site: `127.0.0.1` is cross-site to `localhost`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
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


async def post_a_form_to_the_api(page: Page, base: str) -> None:
    """Navigate the whole window to an endpoint that changes something."""
    await page.evaluate(SUBMIT_FORM, f"{base}/api/echo")
    await expect(page).to_have_title("Please sign in")


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


@pytest.mark.parametrize(
    "attack",
    [
        fetch_with_credentials,
        post_a_form_to_logout,
        post_a_form_to_the_api,
        load_an_image,
        load_a_script,
        open_a_socket,
        frame_the_pages,
    ],
    ids=lambda attack: attack.__name__,
)
async def test_another_site_cannot_act_for_the_user(
    window: Window, elsewhere: str, attack: Attack
) -> None:
    """Whatever a page of another site tries, it is refused, and the session goes on unchanged."""
    await window.sign_in()
    session, cookies = await window.session_id(), await window.cookies()
    await window.page.goto(elsewhere)

    await attack(window.page, window.demo.url)

    window.complaints.clear()
    assert await window.session_id() == session
    assert await window.cookies() == cookies
    await window.visit()
    await expect(window.part("user-name")).to_have_text("Alice Adams")


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
