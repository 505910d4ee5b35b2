"""An application made with Vite: its dev server behind the service, and its build in a folder."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, async_playwright, expect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.raw_http import RawAnswer, exchange, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.processes import Service
    from tests.support.vite import Application

COOKIE = "Cookie: bff=a-session-of-somebody"
OURS = ("Sec-Fetch-Site: same-origin", COOKIE)
FOREIGN = ("Sec-Fetch-Site: cross-site", COOKIE)
HMR = Subprotocol("vite-hmr")
PATIENCE = 20_000


async def test_the_dev_server_works_through_the_service(
    dev_service: Service, application: Application
) -> None:
    """Page, modules, queries, and the hot-reload WebSocket at `/`, all with a user's cookie."""
    page = await get(dev_service, "/orders?a=b", "Accept: text/html", *OURS)
    assert page.status == 200
    assert b'<script type="module" src="/@vite/client">' in page.body
    assert "content-security-policy" not in page.headers
    linked = await get(dev_service, "/", "Accept: text/html", "Sec-Fetch-Mode: navigate", *FOREIGN)
    assert linked.status == 200, "a link from another site opens the page"
    for path, held in (
        ("/src/main.js?t=1700000000000", b'import { message } from "/src/message.js"'),
        ("/src/message.js", b"first words"),
        ("/src/style.css", b"__vite__updateStyle"),
        ("/src/style.css?direct", b"rgb(0, 0, 128)"),
        ("/src/small.svg?import", b"export default"),
        ("/icon.svg", b"<svg"),
    ):
        answer = await get(dev_service, path, *OURS)
        assert answer.status == 200, path
        assert held in answer.body, path
    client = (await get(dev_service, "/@vite/client", *OURS)).body.decode()
    token = re.search(r'wsToken = "([^"]+)"', client)
    assert token is not None

    with pytest.raises(InvalidStatus) as refused:
        await hot_reload(dev_service, token[1], "cross-site")
    assert refused.value.response.status_code == 403
    async with await hot_reload(dev_service, token[1], "same-origin") as socket:
        assert socket.subprotocol == HMR
        assert json.loads(await socket.recv()) == {"type": "connected"}
        (application.folder / "src" / "message.js").write_text('export const message = "new";')
        update = await next_message(socket, "update")
        assert update["updates"][0]["acceptedPath"] == "/src/message.js"
        page_file = application.folder / "index.html"
        page_file.write_text(page_file.read_text().replace("Interop", "Other"))
        await next_message(socket, "full-reload")


async def test_a_browser_sees_changes_without_a_reload(
    dev_service: Service, application: Application, chromium: str
) -> None:
    """In Chromium the page works, nothing is on its console, and a module is replaced in place."""
    async with window(chromium, dev_service) as (page, complaints):
        await page.goto(f"{dev_service.base_url}/deep/link")
        await expect_application(page, "first words")
        await page.evaluate("window.marker = 'not reloaded'")
        changed = application.folder / "src" / "message.js"
        changed.write_text('export const message = "second words";')
        await expect(page.locator("#message")).to_have_text("second words", timeout=PATIENCE)
        assert await page.evaluate("window.marker") == "not reloaded"
        assert complaints == []


async def test_the_build_works_under_the_strict_policy(
    built_service: Service, application: Application, chromium: str
) -> None:
    """In Chromium: chunks, worker, inlined image, deep links; inline code only by the nonce."""
    async with window(chromium, built_service) as (page, complaints):
        answer = await page.goto(f"{built_service.base_url}/deep/link")
        assert answer is not None
        assert "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
        await expect_application(page, "first words")
        image = await page.locator("#small").get_attribute("src")
        assert image is not None
        assert image.startswith("data:image/svg+xml")
        assert complaints == []

        index = application.folder / "dist" / "index.html"
        inline = '<style nonce="BFF_CSP_NONCE">body { margin: 7px }</style>'
        inline += '<script nonce="BFF_CSP_NONCE">document.title = "by nonce"</script></head>'
        index.write_text(index.read_text().replace("</head>", inline))
        await page.reload()
        await expect_application(page, "first words")
        await expect(page).to_have_title("by nonce")
        await expect(page.locator("body")).to_have_css("margin-top", "7px")
        assert complaints == []

        index.write_text(index.read_text().replace(' nonce="BFF_CSP_NONCE"', ""))
        await page.reload()
        await expect_application(page, "first words")
        await expect(page).to_have_title("Interop")
        assert len(complaints) == 2, "one for the style, one for the script"
        assert all("Content Security Policy" in complaint for complaint in complaints)

    for path in re.findall(r'"(/assets/[^"]+)"', index.read_text()):
        asset = await get(built_service, path, "Sec-Fetch-Mode: cors")
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable", path


async def get(service: Service, path: str, *fields: str) -> RawAnswer:
    """Send one request."""
    return await exchange(service.base_url, request(path, *fields))


async def hot_reload(service: Service, token: str, site: str) -> ClientConnection:
    """Open the WebSocket as Vite's client in a page does."""
    return await connect(
        f"{service.base_url.replace('http', 'ws', 1)}/?token={token}",
        subprotocols=[HMR],
        origin=None,
        additional_headers={
            "Origin": service.base_url, "Sec-Fetch-Site": site, "Cookie": "bff=somebody",
        },
        proxy=None,
    )  # fmt: skip


async def next_message(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of that kind."""
    async for data in socket:
        message: dict[str, Any] = json.loads(data)
        if message["type"] == kind:
            return message
    raise AssertionError("the WebSocket was closed")


@asynccontextmanager
async def window(chromium: str, service: Service) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page in an empty browser, and what its console complains of."""
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, headless=True, args=["--no-sandbox", "--disable-gpu"]
        )
        context = await browser.new_context()
        # A signed-in user's cookie, so that the CSRF rule looks at each request.
        await context.add_cookies([{"name": "bff", "value": "somebody", "url": service.base_url}])
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in {"error", "warning"} else None
            ),
        )
        yield page, complaints
        await browser.close()


async def expect_application(page: Page, message: str) -> None:
    """All parts of the application have come to life."""
    for name, text in (
        ("message", message), ("lazy", "came later"), ("worker", "worked"),
        ("session", "signed out"),
    ):  # fmt: skip
        await expect(page.locator(f"#{name}")).to_have_text(text, timeout=PATIENCE)
    await expect(page.locator("#lazy")).to_have_css("color", "rgb(0, 128, 0)")
    await expect(page.locator("h1")).to_have_css("color", "rgb(0, 0, 128)")
    assert await page.locator("#small").evaluate("image => image.decode().then(() => image.width)")
