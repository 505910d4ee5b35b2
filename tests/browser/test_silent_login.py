"""Signing in without leaving the page, in a real browser, at a provider of another site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.window import Window

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.support.demo import Demo

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENTLY = """async (options) => {
    const { silentLogin } = await import('/bff/client.js');
    return silentLogin(options);
}"""
LISTEN_AND_OPEN = """(url) => {
    window.heard = [];
    window.addEventListener('message', ({ data }) => window.heard.push(data));
    window.open(url);
}"""
END_HERE = """async () => {
    const { fetch } = await import('/bff/client.js');
    return (await fetch('/bff/logout', { method: 'POST' })).status;
}"""


async def silently(window: Window, **options: Any) -> dict[str, Any]:
    """Try to sign in from the page that is shown."""
    told: dict[str, Any] = await window.page.evaluate(SILENTLY, options)
    return told


async def test_a_popup_brings_the_session_back(window: Window) -> None:
    """The provider still knows the user; the popup tells the page, which stays where it is."""
    await window.sign_in()
    assert await window.page.evaluate(END_HERE) == 200
    assert await window.session_id() is None
    before = await window.history()
    assert await silently(window, popup=True) == {"authenticated": True}
    assert await window.session_id() is not None
    assert await window.history() == before
    assert len(window.context.pages) == 1


async def test_a_frame_is_told_that_the_user_is_needed(browser: Browser, demo: Demo) -> None:
    """The provider's cookie stays out of frames on another site; the page hears so, and goes on.

    The demo's policy lets no frame lead elsewhere, so it is out of force here.
    """
    context = await browser.new_context(bypass_csp=True)
    window = await Window.open(demo, context)
    await window.sign_in()
    session = await window.session_id()
    assert await silently(window) == {"authenticated": False, "error": "login_required"}
    assert await window.session_id() == session
    assert await window.page.locator("iframe").count() == 0
    await context.close()


async def test_another_origin_hears_nothing(window: Window) -> None:
    """A page of another site that opens our silent sign-in gets no message of it."""
    await window.sign_in()
    await window.page.goto(window.demo.provider)
    async with window.page.expect_popup() as opening:
        await window.page.evaluate(LISTEN_AND_OPEN, f"{window.demo.url}/bff/login?silent=true")
    popup = await opening.value
    await popup.wait_for_url("**/bff/callback**")
    await popup.wait_for_load_state()
    assert await popup.title() == "You are signed in"
    assert await popup.evaluate("window.opener !== null")
    assert await window.page.evaluate("window.heard") == []
    window.complaints.clear()  # the browser complains of the message that it kept back
