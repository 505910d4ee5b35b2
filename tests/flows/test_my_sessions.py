"""`/bff/sessions`: a user sees where they are signed in, and ends what they do not want."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.site import signed_in
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two workers."""
    async with open_fleet(tmp_path_factory.mktemp("mine"), workers=2) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nobody_else(fleet: Fleet) -> None:
    """Everybody is signed out before a test."""
    for sub in ("alice", "bob"):
        await fleet.provider_says(sub=sub)
    fleet.minting.counted.clear()


async def listed(browser: UserAgent) -> list[dict[str, object]]:
    """Return a user's sessions as they see them."""
    answer = await browser.fetch("/bff/sessions")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    sessions: list[dict[str, object]] = answer.json()["sessions"]
    return sessions


async def id_of(browser: UserAgent) -> str:
    """Return the id of a browser's session that is shown to its user."""
    identifier: str = (await browser.fetch("/bff/session")).json()["session"]["id"]
    return identifier


async def test_a_user_sees_their_sessions(fleet: Fleet) -> None:
    """Newest first, with words for the browser, times, the address, and which one this is."""
    began = datetime.now(UTC)
    desk = await fleet.signed_in()
    phone = await fleet.signed_in(headers={"User-Agent": IPHONE})
    bob = await fleet.signed_in("bob")
    first, second = await listed(desk)
    assert list(first) == ["id", "created_at", "last_used_at", "current", "address", "browser"]
    assert (first["browser"], second["browser"]) == ("Safari on iPhone", "Chrome on Linux")
    assert (first["current"], second["current"]) == (False, True)
    assert (first["id"], second["id"]) == (await id_of(phone), await id_of(desk))
    assert {first["address"], second["address"]} == {"127.0.0.1"}
    for name in ("created_at", "last_used_at"):
        told = datetime.fromisoformat(str(first[name]))
        assert abs((told - began).total_seconds()) < 10
    assert [one["current"] for one in await listed(phone)] == [True, False]
    assert len(await listed(bob)) == 1


async def test_what_is_shown_opens_nothing(fleet: Fleet) -> None:
    """An id is no cookie value, nor any part of one or of a key in Redis."""
    browser = await fleet.signed_in()
    shown = str((await listed(browser))[0]["id"])
    session = await fleet.session(browser)
    assert session is not None
    assert shown not in cookie_of(browser)
    assert shown not in session.key


async def test_one_is_ended(fleet: Fleet) -> None:
    """204; that browser is out on every worker, its tokens are revoked, and this one goes on."""
    here, there = await fleet.signed_in(), await fleet.signed_in()
    connections = await fleet.spread(8)
    await asyncio.gather(*(one.ask("/bff/session", cookie_of(there)) for one in connections))
    answer = await here.fetch(f"/bff/sessions/{await id_of(there)}", method="DELETE")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "set-cookie" not in answer.headers
    await asyncio.sleep(0.1)
    answers = await asyncio.gather(
        *(one.ask("/bff/session", cookie_of(there)) for one in connections)
    )
    assert not any(one.json()["authenticated"] for one in answers)
    assert await signed_in(here)
    assert len(await listed(here)) == 1
    assert fleet.minting.counted["revoked"] == 1
    assert fleet.logged("session.ended")[-1]["reason"] == "ended_by_user"


async def test_the_current_one_is_ended(fleet: Fleet) -> None:
    """It may be this one too: then the cookie goes with it."""
    browser = await fleet.signed_in()
    answer = await browser.fetch(f"/bff/sessions/{await id_of(browser)}", method="DELETE")
    assert answer.status_code == 204
    assert browser.cookies.get("bff") is None
    assert not await signed_in(browser)


async def test_all_others_are_ended(fleet: Fleet) -> None:
    """204; only this one is left, and somebody else's."""
    here, *others = [await fleet.signed_in() for _ in range(4)]
    bob = await fleet.signed_in("bob")
    assert (await here.fetch("/bff/sessions", method="DELETE")).status_code == 204
    assert [await signed_in(one) for one in others] == [False] * 3
    assert await signed_in(here)
    assert await signed_in(bob)
    assert fleet.minting.counted["revoked"] == 3
    assert (await here.fetch("/bff/sessions", method="DELETE")).status_code == 204
    assert await signed_in(here)


async def test_a_slow_provider_keeps_no_session_alive(fleet: Fleet) -> None:
    """All end first; revoking what they held takes its time behind that, a second at most."""
    here, *others = [await fleet.signed_in() for _ in range(5)]
    fleet.minting.revoking = 3
    watch = Stopwatch()
    deleting = asyncio.ensure_future(here.fetch("/bff/sessions", method="DELETE"))
    await asyncio.sleep(0.3)
    assert [await signed_in(one) for one in others] == [False] * 4
    assert (await deleting).status_code == 204
    assert watch.seconds() < 2
    async with asyncio.timeout(8):
        while fleet.minting.counted["revoked"] < 4:
            await asyncio.sleep(0.1)
    fleet.minting.revoking = 0


@pytest.mark.parametrize(
    "identifier",
    [
        "AAAAAAAAAAAAAAAAAAAA",
        "x",
        "..",
        "-",
        "%2e%2e",
        "a/b",
        "a%2Fb",
        "A" * 500,
        "*",
        "%00",
        "a b",
    ],
)
async def test_an_id_that_is_nobodys_is_not_found(fleet: Fleet, identifier: str) -> None:
    """404 (or 400 for what no path may hold), and nothing ends."""
    browser = await fleet.signed_in()
    connection = (await fleet.connections(1))[0]
    target = f"/bff/sessions/{identifier}".replace(" ", "%20")
    answer = await connection.ask(target, cookie_of(browser), method="DELETE")
    assert answer.status in {400, 404}
    assert answer.status == 404 or "." in identifier or "%" in identifier
    assert answer.json()["code"] in {"not_found", "bad_path"}
    assert await signed_in(browser)


async def test_somebody_elses_session_is_not_found(fleet: Fleet) -> None:
    """404, as for one that never was; and so is one that has ended already."""
    alice, bob = await fleet.signed_in(), await fleet.signed_in("bob")
    bobs = await id_of(bob)
    assert (await alice.fetch(f"/bff/sessions/{bobs}", method="DELETE")).status_code == 404
    assert await signed_in(bob)
    other = await fleet.signed_in("bob")
    gone = await id_of(other)
    assert (await bob.fetch(f"/bff/sessions/{gone}", method="DELETE")).status_code == 204
    assert (await bob.fetch(f"/bff/sessions/{gone}", method="DELETE")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/bff/sessions"), ("DELETE", "/bff/sessions"), ("DELETE", "/bff/sessions/x")],
)
async def test_signed_out_there_is_nothing(fleet: Fleet, method: str, path: str) -> None:
    """401 with the address of the login."""
    answer = await fleet.browser().fetch(path, method=method)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.json()["login_url"] == "/bff/login"


@pytest.mark.parametrize("path", ["/bff/sessions", "/bff/sessions/{}"])
async def test_another_site_ends_nothing(fleet: Fleet, path: str) -> None:
    """403 whether it brings the cookie or not, and for a request that says nothing of its page."""
    here, there = await fleet.signed_in(), await fleet.signed_in()
    connection = (await fleet.connections(1))[0]
    target = path.format(await id_of(there))
    for site in ("cross-site", "same-site", "none"):
        for cookie in (cookie_of(here), ""):
            headers = {"Sec-Fetch-Site": site, "Origin": "https://evil.example"}
            answer = await connection.ask(target, cookie, method="DELETE", headers=headers)
            assert (answer.status, answer.json()["code"]) == (403, "csrf")
    assert await signed_in(there)


async def test_a_limit_ends_the_oldest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """BFF_MAX_SESSIONS_PER_USER=3: the fourth login ends the first; other users do not count.

    Logins at the same time end the oldest, never each other all.
    """
    folder = tmp_path_factory.mktemp("limit")
    async with open_fleet(folder, {"BFF_MAX_SESSIONS_PER_USER": "3"}) as fleet:
        bob = await fleet.signed_in("bob")
        alices = [await fleet.signed_in() for _ in range(5)]
        assert [await signed_in(one) for one in alices] == [False, False, True, True, True]
        assert await signed_in(bob)
        assert len(await listed(alices[-1])) == 3
        assert fleet.minting.counted["revoked"] == 2
        together = await asyncio.gather(*(fleet.signed_in() for _ in range(6)))
        assert 1 <= sum([await signed_in(one) for one in together]) <= 3
        assert not any([await signed_in(one) for one in alices])
