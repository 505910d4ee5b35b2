"""A person at the demo: signs in, calls the API, comes back, signs out, is signed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Request, expect

if TYPE_CHECKING:
    from tests.browser.conftest import OpenWindow
    from tests.support.demo import Demo
    from tests.support.window import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("name", "orders", "admin"),
    [("Alice Adams", 200, 200), ("Bob Brown", 200, 403), ("Carol Clark", 403, 403)],
)
async def test_everyone_may_call_what_their_role_and_scopes_allow(
    window: Window, name: str, orders: int, admin: int
) -> None:
    """The page calls every endpoint; the API answers each user by their own rights."""
    await window.sign_in(name)

    await window.call("public", 200)
    await window.call("me", 200)
    await expect(window.part("result-me")).to_contain_text(name.partition(" ")[0].lower())
    await window.call("orders", orders)
    await window.call("admin", admin)


async def test_signed_out_only_the_public_endpoint_answers(window: Window) -> None:
    """Without a session a call is refused, and the page says why instead of failing."""
    await window.visit()
    await window.call("public", 200)
    await window.call("me", 401)
    await expect(window.part("result-me")).to_contain_text("Sign in first")
    await expect(window.part("sign-in")).to_be_visible()


async def test_the_session_survives_a_reload(window: Window) -> None:
    """After a reload the same user is still signed in, and the clock of the session is shown."""
    await window.sign_in()
    before = await window.session_id()

    await window.page.reload()

    await expect(window.part("user-name")).to_have_text("Alice Adams")
    await expect(window.part("session-countdown")).to_contain_text("29:")
    assert await window.session_id() == before


async def test_signing_out_goes_through_the_provider_and_back(window: Window) -> None:
    """Signing out ends the session here and at the provider, which asks anew the next time."""
    await window.sign_in()
    await window.part("sign-out").click()

    await expect(window.part("sign-in")).to_be_visible()
    assert window.page.url == f"{window.demo.url}/"
    seen = [path_of(window.demo, request) for request in window.requests]
    assert "provider/logout" in seen
    assert "/bff/logged-out" in seen
    assert "bff" not in await window.cookies()
    await window.sign_in("Bob Brown")


async def test_signed_out_everywhere_is_seen_in_every_window(open_window: OpenWindow) -> None:
    """The provider signs a user out; two other windows notice within seconds, without a reload."""
    first, second = await open_window(), await open_window()
    for window in (first, second):
        await window.sign_in("Carol Clark")
        await window.page.evaluate("window.stayed = true")

    office = await open_window()
    await office.page.goto(f"{office.demo.provider}/")
    await office.page.get_by_role("button", name="Carol Clark").click()

    for window in (first, second):
        await expect(window.part("signed-out-notice")).to_contain_text("You have been signed out")
        await expect(window.part("sign-in")).to_be_visible()
        await expect(window.page.locator("#announcer")).to_be_empty()
        assert await window.page.evaluate("window.stayed") is True
        await window.call("me", 401)


async def test_the_page_says_signed_in_from_the_first_moment(window: Window) -> None:
    """After the hop the Strict cookie is sent on arrival: the page never says signed out."""
    await window.visit()
    await window.context.add_init_script(WATCH_STATES)
    await window.sign_in()

    states = await window.page.evaluate("window.states")
    assert states[-1] == "signed-in"
    assert "signed-out" not in states
    arrivals = [r for r in window.requests if r.url == f"{window.demo.url}/"]
    headers = await arrivals[-1].all_headers()
    assert "bff=" in headers["cookie"]


async def test_the_back_button_neither_replays_nor_reveals_the_login(window: Window) -> None:
    """The history has no code, and going back redeems nothing again and ends nothing."""
    await window.sign_in()
    session = await window.session_id()
    (callback,) = [r.url for r in window.requests if path_of(window.demo, r) == "/bff/callback"]
    assert not [url for url in await window.history() if "code=" in url or "/bff/" in url]

    await window.page.go_back()
    await window.check_page("This sign-in is no longer valid")
    await window.page.go_forward()

    await expect(window.part("user-name")).to_have_text("Alice Adams")
    assert await window.session_id() == session
    assert [r.url for r in window.requests].count(callback) == 1
    assert callback not in await window.history()


async def test_the_logout_page_works_by_keyboard(window: Window) -> None:
    """Tab reaches the button, Enter presses it, and the session is over."""
    await window.sign_in()
    await window.visit("/bff/logout")
    await window.check_page("Sign out")

    await window.page.keyboard.press("Tab")
    await expect(window.page.get_by_role("button", name="Sign out")).to_be_focused()
    await window.page.keyboard.press("Enter")

    await expect(window.part("sign-in")).to_be_visible()
    assert await window.session_id() is None


async def test_an_address_that_is_not_there_shows_a_page(window: Window) -> None:
    """A navigation to nothing gets a page with a way on, not a bare status."""
    await window.visit("/bff/nothing-here")
    await window.check_page("Nothing is here")
    await window.visit("/a/view/of/the/application")
    await expect(window.part("sign-in")).to_be_visible()


async def test_a_protected_address_leads_to_sign_in_and_back(window: Window) -> None:
    """Who opens an API address signed out gets a page whose link signs in and comes back to it."""
    await window.visit("/api/orders")
    await window.check_page("Please sign in")

    await window.page.get_by_role("link", name="Sign in").click()
    await window.choose("Alice Adams")

    await window.page.wait_for_url(f"{window.demo.url}/api/orders")
    await expect(window.page.locator("body")).to_contain_text("A-1042")


async def test_a_login_that_is_no_longer_valid_says_so(window: Window) -> None:
    """An answer that nobody asked for makes no session, and the page offers to start again."""
    await window.visit("/bff/callback?code=made-up&state=made-up")
    await window.check_page("Signing in did not work")
    assert await window.session_id() is None

    await window.page.get_by_role("link", name="Sign in again").click()
    await window.choose("Alice Adams")
    await expect(window.part("user-name")).to_have_text("Alice Adams")


def path_of(demo: Demo, request: Request) -> str:
    """The path that was asked, `provider` before it where it was asked there."""
    path = request.url.partition("?")[0]
    return path.replace(demo.provider, "provider").removeprefix(demo.url)


WATCH_STATES = """
window.states = [];
new MutationObserver(() => {
  const state = document.body?.dataset.state;
  if (state && state !== window.states.at(-1)) window.states.push(state);
}).observe(document, { subtree: true, childList: true, attributeFilter: ['data-state'] });
"""
