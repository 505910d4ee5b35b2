"""A form of the application's page that signs out, under the policy of that page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.window import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUBMIT = """() => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = "/bff/logout";
  document.body.append(form);
  form.submit();
}"""


async def test_a_form_leads_through_the_providers_sign_out(window: Window) -> None:
    """`form-action` names the provider: browsers hold a form's redirects against it, too."""
    await window.sign_in()
    await window.page.evaluate(SUBMIT)
    await expect(window.part("sign-in")).to_be_visible()
    await window.page.wait_for_url(f"{window.demo.url}/")
    passed = [request.url for request in window.requests if request.is_navigation_request()]
    assert any(url.startswith(f"{window.demo.provider}/") for url in passed[-4:])
    assert await window.session_id() is None
