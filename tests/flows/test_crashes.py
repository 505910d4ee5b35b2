"""A worker is killed (SIGKILL) before each step of sign-in, refresh, and sign-out.

A step is a command to Redis, a call to the provider, or the answer; dying before a step is dying
after the one before it. Another worker takes over at once. Whatever the step: nothing that ended is
there again, and nobody is signed out who need not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
import pytest_asyncio

from bff.sessions.session import Session
from tests.support.fleet import Fleet, key_of, open_fleet
from tests.support.site import signed_in
from tests.support.stopwatch import Stopwatch
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")
LEASE = 0.7
MOST_STEPS = 40
DELIVERED = "nothing"  # the step after the answer


@dataclass
class Mortal:
    """A service whose worker dies when told to. `died`: before which step, empty if it did not."""

    fleet: Fleet
    plan: Path
    died: str = ""

    async def signed_in(self, sub: str) -> UserAgent:
        """Return a browser that is signed in; each request has its own connection."""
        return await self.fleet.signed_in(sub, headers={"Connection": "close"})

    async def every_step(self) -> AsyncIterator[int]:
        """Give the number of every step, until a worker outlives its request."""
        self.fleet.minting.counted.clear()
        for number in range(1, MOST_STEPS):
            yield number
            if not self.died:
                return
        raise AssertionError("the steps have no end")

    async def attempt(self, step: int, path: str, request: Awaitable[T]) -> T | None:
        """Make the fatal request; return its answer, None where the connection broke."""
        died = self.plan.with_name("died")
        died.unlink(missing_ok=True)
        self.plan.write_text(json.dumps({"path": path, "step": step}), encoding="utf-8")
        answer: T | None = None
        with contextlib.suppress(httpx2.TransportError):
            answer = await request
        await asyncio.sleep(0.05)  # it may have had its answer out before it was dead
        self.died = died.read_text(encoding="utf-8") if died.exists() else ""
        self.plan.unlink(missing_ok=True)
        assert (answer is not None) is (self.died in {"", DELIVERED})
        return answer

    async def refresh(self, step: int, browser: UserAgent) -> None:
        """Make the fatal request a refresh."""
        path = "/bff/refresh"
        await self.attempt(step, path, browser.fetch(path, method="POST"))

    async def records(self, sub: str) -> list[Session]:
        """Return every session of a user that Redis has, whether an index knows it or not."""
        keys = [
            name.removeprefix("bff:{").partition("}")[0]
            async for name in self.fleet.redis.scan("bff:{*}:session")
        ]
        found = await self.fleet.store.load_many(keys)
        return [session for session in found if session is not None and session.sub == sub]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mortal]:
    """The service, started by the entry point that kills it."""
    folder = tmp_path_factory.mktemp("crashes")
    plan = folder / "plan"
    arguments = ["tests.support.crashing", "--plan", str(plan), "--lease", str(LEASE)]
    async with open_fleet(folder, arguments=arguments) as fleet:
        yield Mortal(fleet, plan)


def in_order(met: list[str], *steps: str) -> bool:
    """Whether the steps came, each for the first time after the one before it."""
    first = [met.index(step) for step in steps]
    return first == sorted(first)


async def test_sign_in(mortal: Mortal) -> None:
    """A session is one when its cookie was delivered; the old one may end before, never return."""
    minting = mortal.fleet.minting
    met: list[str] = []
    async for step in mortal.every_step():
        sub = f"user-{step}"
        browser = await mortal.signed_in(sub)
        old = key_of(browser)
        callback = await minting.begin(browser, sub)
        page = await mortal.attempt(step, "/bff/callback", browser.navigate(callback, follow=False))
        died = mortal.died
        met.append(died)

        if died in {"", DELIVERED}:
            assert page is not None
            assert page.status == 200
            assert key_of(browser) != old
            assert await signed_in(browser)
        else:
            assert page is None
            assert key_of(browser) == old
            # What this browser had ends last, after the new session has been written.
            replaced = "END" in met and died != "END"
            assert await signed_in(browser) is not replaced, died
            again = await browser.navigate(callback, follow=False)
            taken = "take login" in met and died != "take login"
            assert again.status == (400 if taken else 200), died
            assert await signed_in(browser) is (not replaced if taken else True)
        assert await mortal.fleet.session_of(old) is None or key_of(browser) == old

        # Whatever was left behind, the next login works, and a logout finds all there is.
        assert (await minting.sign_in(browser, sub)).status == 200
        assert await signed_in(browser)
        assert (await mortal.fleet.provider_says(sub=sub)).status_code == 200
        assert await mortal.records(sub) == []
        assert not await signed_in(browser)
    assert in_order(met, "take login", "post /token", "ENTER", "CREATE", "END", "answer")


@pytest.mark.parametrize("rotating", [True, False], ids=["rotating", "not rotating"])
async def test_refresh(mortal: Mortal, *, rotating: bool) -> None:
    """The session lives on; only where a rotating provider's answer was lost it ends at the next.

    The lease of the dead holds up the next refresh for its time and no longer.
    """
    minting = mortal.fleet.minting
    minting.rotating = rotating
    met: list[str] = []
    async for step in mortal.every_step():
        browser = await mortal.signed_in(f"refresher-{step}")
        await mortal.refresh(step, browser)
        died = mortal.died
        met.append(died)
        assert await signed_in(browser)
        assert (await browser.fetch("/api/me")).status_code == 200

        watch = Stopwatch()
        answer = await browser.fetch("/bff/refresh", method="POST")
        assert watch.seconds() < LEASE + 1.0
        lost = rotating and died == "SAVE"  # the provider has answered, and nobody kept it
        assert answer.status_code == (401 if lost else 200), died
        assert await signed_in(browser) is not lost
    assert in_order(met, "TAKE", "post /token", "SAVE", "RELEASE", "answer")
    assert met[met.index("TAKE") + 1] == "fetch session"
    assert minting.counted["reused"] == rotating
    minting.rotating = True


async def test_sign_out(mortal: Mortal) -> None:
    """Before the session has ended it goes on; afterwards it is over, whatever was not done yet."""
    met: list[str] = []
    async for step in mortal.every_step():
        browser = await mortal.signed_in(f"leaver-{step}")
        key, cookies = key_of(browser), browser.cookies.get("bff")
        answer = await mortal.attempt(
            step, "/bff/logout", browser.fetch("/bff/logout", method="POST")
        )
        died = mortal.died
        met.append(died)
        ended = "END" in met and died != "END"
        stale = {"Cookie": f"bff={cookies}"}
        state = await browser.fetch("/bff/session", headers=stale)
        assert state.json()["authenticated"] is not ended, died
        if answer is None:
            answer = await browser.fetch("/bff/logout", method="POST")
        assert answer.status_code == 200
        assert browser.cookies.get("bff") is None
        state = await browser.fetch("/bff/session", headers=stale)
        assert state.json()["authenticated"] is False
        assert await mortal.fleet.session_of(key) is None
    assert in_order(met, "END", "put once", "post /revoke", "answer")


async def test_sign_out_by_the_provider(mortal: Mortal) -> None:
    """No session that ended is served again, and when the provider says it again all have ended."""
    met: list[str] = []
    async for step in mortal.every_step():
        sub = f"told-{step}"
        browsers = [await mortal.signed_in(sub) for _ in range(2)]
        token = mortal.fleet.minting.logout_token(sub=sub)
        path = "/bff/backchannel-logout"
        answer = await mortal.attempt(step, path, mortal.fleet.deliver(token))
        met.append(mortal.died)
        over = [browser for browser in browsers if not await signed_in(browser)]
        assert answer is None or len(over) == len(browsers)
        again = await mortal.fleet.deliver(token)
        assert again.status_code == 200
        for browser in browsers:
            assert not await signed_in(browser)
        assert await mortal.records(sub) == []
    assert in_order(met, "MARK", "READ", "END", "answer")


async def test_a_sign_out_meets_the_worker_that_took_over(mortal: Mortal) -> None:
    """A worker dies in a refresh; who signs out meanwhile is out, whatever the dead one began."""
    async for step in mortal.every_step():
        browser = await mortal.signed_in(f"both-{step}")
        stale = {"Cookie": f"bff={browser.cookies.get('bff')}"}
        await mortal.refresh(step, browser)
        assert (await browser.fetch("/bff/logout", method="POST")).status_code == 200
        await asyncio.sleep(0.05)
        refreshed = await browser.fetch("/bff/refresh", method="POST", headers=stale)
        assert refreshed.status_code == 401
        state = await browser.fetch("/bff/session", headers=stale)
        assert state.json()["authenticated"] is False
