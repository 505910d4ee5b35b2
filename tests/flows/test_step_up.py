"""An upstream or a route asks for a stronger or more recent sign-in, and gets it (RFC 9470)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.site import Site, open_site, sign_in
from tests.support.strict_api import RECENT, STRONG, StrictApi, strict_api
from tests.support.user_agent import UserAgent

ACR = f"acr_values={quote(f'urn:never:heard {STRONG}', safe='')}"


@dataclass
class Place:
    """A service whose upstream is particular."""

    site: Site
    api: StrictApi


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`/api` leaves it to the upstream what is asked; the others ask themselves."""
    with strict_api() as api:
        routes = {
            "/api": api.url,
            "/firm": {"upstream": api.url, "acr": STRONG},
            "/fresh": {"upstream": api.url, "max_age": RECENT},
            "/both": {"upstream": api.url, "acr": STRONG, "max_age": 3600},
        }
        env = {"BFF_ROUTES": json.dumps(routes)}
        with open_site(tmp_path_factory.mktemp("step-up"), env) as site:
            yield Place(site, api)


def step_up(answer: httpx2.Response) -> str:
    """Return where a problem says to sign in."""
    assert answer.status_code == 401, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == "step_up_required"
    assert "www-authenticate" not in answer.headers
    assert not {"acr", "max_age", "refused"} & problem.keys()
    return str(problem["login_url"])


async def auth_time(browser: UserAgent) -> int:
    """Return when the user signed in at the provider."""
    return int((await browser.fetch("/bff/session")).json()["user"]["auth_time"])


async def session_id(browser: UserAgent) -> str:
    """Return the name of the session."""
    return str((await browser.fetch("/bff/session")).json()["session"]["id"])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/strong", ACR),
        ("/firm/x", f"acr_values={quote(STRONG, safe='')}"),
        ("/both/x", f"acr_values={quote(STRONG, safe='')}&max_age=3600"),
    ],
)
async def test_a_stronger_sign_in(place: Place, path: str, query: str) -> None:
    """The problem's `login_url` leads to it, and the session that comes back is let in."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        before = await session_id(browser)
        login_url = step_up(await browser.fetch(path))
        assert login_url == f"/bff/login?{query}"
        await browser.navigate(f"{login_url}&return_to=/there")
        page = await browser.submit(button="alice")
        assert page.path == "/there"
        assert (await browser.fetch(path)).status_code == 200
        assert await session_id(browser) != before
        assert place.api.seen[-1][1]["acr"] == STRONG


@pytest.mark.parametrize("path", ["/api/recent", "/fresh/x"])
async def test_a_more_recent_sign_in(place: Place, path: str) -> None:
    """As long as it is recent it is enough; then the user is asked again, and is let in again."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        assert (await browser.fetch(path)).status_code == 200
        first = await auth_time(browser)
        async with asyncio.timeout(20):
            while (answer := await browser.fetch(path)).status_code == 200:
                await asyncio.sleep(0.3)
        login_url = step_up(answer)
        assert login_url == f"/bff/login?max_age={RECENT}"
        page = await browser.navigate(login_url)
        assert page.forms, "the provider asks, though the user is signed in there"
        await browser.submit(button="alice")
        assert await auth_time(browser) > first


async def test_a_challenge_that_makes_no_sense_leads_to_a_plain_sign_in(place: Place) -> None:
    """Nothing of it gets into our address; the user is asked again."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        assert step_up(await browser.fetch("/api/odd")) == "/bff/login?prompt=login"


async def test_a_person_gets_a_page_with_the_way_on(place: Place) -> None:
    """A navigation is answered with the button to sign in, which leads back here."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        page = await browser.navigate("/api/strong")
        assert (page.status, page.content.title) == (401, "Please confirm that it is you")
        assert f'href="/bff/login?{ACR}&amp;return_to=/api/strong"' in page.text


async def test_a_request_with_a_body_is_told_as_well(place: Place) -> None:
    """Whatever its size: nothing has to be sent again."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        answer = await browser.fetch("/api/strong", method="POST", content=b"x" * 200_000)
        assert step_up(answer) == f"/bff/login?{ACR}"


async def test_a_websocket_is_told_as_well(place: Place) -> None:
    """The upstream's refusal of the handshake is answered with our problem."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        url = place.site.base_url.replace("http", "ws", 1) + "/api/strong"
        fields = {"Sec-Fetch-Site": "same-origin", "Cookie": f"bff={browser.cookies.get('bff')}"}
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=fields, proxy=None)
        answer = refused.value.response
        assert answer.status_code == 401
        assert json.loads(answer.body)["login_url"] == f"/bff/login?{ACR}"


async def test_what_the_operator_sees(place: Place) -> None:
    """That an upstream asks, and whether signing in again can help at all."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        answer = await browser.fetch("/api/strong")
        (line,) = [
            one
            for one in place.site.logged(answer.headers["x-request-id"])
            if one["event"] == "upstream.step_up"
        ]
        assert (line["route"], line["in_vain"]) == ("/api", False)


async def test_without_the_stronger_sign_in_nothing_changes(place: Place) -> None:
    """A user who turns back at the provider has the session of before, and is told so."""
    async with place.site.browser() as browser:
        await sign_in(browser)
        before = await session_id(browser)
        await browser.navigate(step_up(await browser.fetch("/api/strong")))
        page = await browser.submit(button="cancel")
        assert page.path == "/bff/callback"
        assert page.status == 400
        assert "It was cancelled" in page.content.text
        assert await session_id(browser) == before
