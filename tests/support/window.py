"""A browser window on the demo: what a person does there, and what there is to complain about."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

if TYPE_CHECKING:
    from tests.support.demo import Demo

# The browser writes this itself for every answer that a page is meant to show as a refusal.
REFUSAL = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d\b")
QUICKLY = 10_000  # milliseconds


@dataclass
class Window:
    """One context (its own cookies and storage), one page."""

    demo: Demo
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list[str])
    requests: list[Request] = field(default_factory=list[Request])

    @classmethod
    async def open(cls, demo: Demo, context: BrowserContext) -> Window:
        """Open a window that listens to its own console."""
        window = cls(demo, context, await context.new_page())
        window.page.on("console", window._hear)
        window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
        window.page.on("request", window._note)
        return window

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not REFUSAL.match(message.text):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def part(self, name: str) -> Locator:
        """The part of the application with this test id."""
        return self.page.get_by_test_id(name)

    async def visit(self, path: str = "/") -> None:
        """Type an address of the application."""
        await self.page.goto(f"{self.demo.url}{path}")

    async def choose(self, name: str) -> None:
        """Choose a user on the provider's page."""
        await self.page.wait_for_url(f"{self.demo.provider}/**")
        await self.page.get_by_role("button", name=name).click()

    async def sign_in(self, name: str = "Alice Adams") -> None:
        """Sign in from the application's page, and see one's name there."""
        if not self.page.url.startswith(self.demo.url):
            await self.visit()
        await self.part("sign-in").click()
        await self.choose(name)
        await expect(self.part("user-name")).to_have_text(name)

    async def call(self, name: str, status: int) -> None:
        """Press a button of the API cards and wait for the answer."""
        await self.part(f"call-{name}").click()
        await expect(self.part(f"result-{name}")).to_have_attribute("data-status", str(status))

    async def session_id(self) -> str | None:
        """Who the service says is signed in here: the session's name, not its cookie."""
        answer = await self.page.request.get(f"{self.demo.url}/bff/session?slide=false")
        told = await answer.json()
        return told["session"]["id"] if told["authenticated"] else None

    async def cookies(self) -> dict[str, str]:
        """Names and values of the cookies for the application."""
        return {
            cookie.get("name", ""): cookie.get("value", "")
            for cookie in await self.context.cookies(self.demo.url)
        }

    async def history(self) -> list[str]:
        """The addresses that the back and forward buttons know."""
        cdp = await self.context.new_cdp_session(self.page)
        known = await cdp.send("Page.getNavigationHistory")
        await cdp.detach()
        return [entry["url"] for entry in known["entries"]]

    async def check_page(self, title: str) -> None:
        """A page of ours: a language, a title, one main part, one heading."""
        await expect(self.page.locator("html")).to_have_attribute("lang", "en")
        await expect(self.page).to_have_title(title)
        await expect(self.page.get_by_role("main")).to_have_count(1)
        await expect(self.page.get_by_role("heading", level=1)).to_have_count(1)
