"""Whatever happens at once: a session that has ended is never served again, and no other is lost.

Eight actors do for some seconds what comes to their mind, on two service processes: sign in, out,
in again, have the provider sign a user or a provider session out, refresh, end one session or all
others. A model knows of every session when its end began and when that was answered. What a request
hears must fit: nothing from a session whose end was answered a tenth of a second before; always an
answer from one whose end nobody began. The seed is in the name of every failure; BFF_TEST_SEED
chooses it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.support.fleet import Fleet, cookie_of, open_fleet

SECONDS = 8.0
ACTORS = 8
HEARD = 0.1  # seconds in which every worker knows
USERS = ("alice", "bob", "carol")
now = time.monotonic


@dataclass(eq=False)
class Held:
    """A session whose cookie was delivered. `ending`: when an end of it began; `over`: answered."""

    cookie: str
    sub: str
    sid: str
    display_id: str
    ending: float | None = None
    over: float | None = None

    def begins_to_end(self) -> None:
        """Note that something begins that may end it."""
        self.ending = self.ending or now()

    def has_ended(self) -> None:
        """Note that it is over."""
        self.over = self.over or now()


@dataclass(eq=False)
class SignOut:
    """A word of the provider, or of a user about other sessions; it may hit logins on their way."""

    sub: str | None
    sid: str | None
    began: float = field(default_factory=now)
    answered: float | None = None

    def speaks_of(self, sub: str, sid: str) -> bool:
        """Whether a session of this user and provider session is meant."""
        return self.sub == sub or self.sid == sid


@dataclass
class Model:
    """All sessions there ever were, and the rules."""

    seed: int
    held: list[Held] = field(default_factory=list[Held])
    sign_outs: list[SignOut] = field(default_factory=list[SignOut])
    done: Counter[str] = field(default_factory=Counter[str])

    def served(self, one: Held, asked: float, what: str) -> None:
        """Judge that a request which was made at `asked` was served."""
        late = one.over is not None and asked > one.over + HEARD
        assert not late, f"{what}: served {asked - (one.over or 0):.3f} s after its end, {self}"

    def refused(self, one: Held, what: str) -> None:
        """Judge that a request was refused, as if there were no session; then it must be so."""
        assert one.ending is not None, f"{what}: a session was lost, {self}"
        one.has_ended()

    def of(self, sub: str | None, sid: str | None) -> list[Held]:
        """Return the sessions there are now of a user or a provider session."""
        return [one for one in self.held if one.sub == sub or one.sid == sid]

    def __repr__(self) -> str:
        return f"seed {self.seed}, after {dict(self.done)}"


class Actor:
    """One of those who do something."""

    def __init__(self, fleet: Fleet, model: Model, seed: int) -> None:
        self.fleet = fleet
        self.model = model
        self.random = random.Random(seed)
        self.client = fleet.client
        self.browser = fleet.browser()

    async def live(self, until: float) -> None:
        """Do one thing after the other."""
        deeds = {
            self.sign_in: 6, self.sign_in_again: 2, self.look_around: 12, self.refresh: 4,
            self.sign_out: 2, self.end_one: 2, self.end_others: 1,
            self.provider_ends_sid: 2, self.provider_ends_sub: 1,
        }  # fmt: skip
        while now() < until:
            deed = self.random.choices([*deeds], [*deeds.values()])[0]
            await deed()
            self.model.done[deed.__name__] += 1

    async def ask(
        self, path: str, one: Held, method: str = "GET", service: int | None = None
    ) -> httpx2.Response:
        """Send a request with a session's cookie to one of the services."""
        number = self.random.randrange(len(self.fleet.services)) if service is None else service
        headers = {"Cookie": one.cookie, "Sec-Fetch-Site": "same-origin"}
        url = self.fleet.services[number].base_url + path
        return await self.client.request(method, url, headers=headers)

    def choose(self) -> Held | None:
        """Choose a session, rather one that is not over."""
        alive = [one for one in self.model.held if one.ending is None]
        some = alive if alive and self.random.random() < 0.8 else self.model.held
        return self.random.choice(some) if some else None

    async def sign_in(self) -> None:
        """Sign in, now and then in a session at the provider that has one here already."""
        self.browser.cookies.clear()
        await self._sign_in(self.random.choice(USERS), None)

    async def sign_in_again(self) -> None:
        """Sign in in a browser that has a session, which ends."""
        old = self.choose()
        if old is None or old.ending is not None:
            return
        self.browser.cookies.clear()
        self.browser.cookies.store(self.fleet.base_url, f"{old.cookie}; Path=/; SameSite=Strict")
        await self._sign_in(self.random.choice(USERS), old)

    async def _sign_in(self, sub: str, replaced: Held | None) -> None:
        model, browser = self.model, self.browser
        sids = [one.sid for one in model.held if one.sub == sub]
        shared = self.random.choice(sids) if sids and self.random.random() < 0.3 else None
        callback = await self.fleet.minting.begin(browser, sub, shared)
        begun = now()
        await asyncio.sleep(self.random.choice((0, 0, 0.02, 0.2)))
        sid = self.fleet.minting.codes[callback.partition("code=")[2].partition("&")[0]].sid
        if replaced is not None:
            replaced.begins_to_end()
        called = now()
        page = await browser.navigate(callback, follow=False)
        meant = [
            word for word in model.sign_outs
            if word.speaks_of(sub, sid) and (word.answered is None or word.answered > begun)
        ]  # fmt: skip
        if page.status != 200:
            assert meant, f"a login was refused: {page.status}, {model}"
            model.done["login refused"] += 1
            return
        too_late = [
            word for word in meant
            if word.sid == sid and word.began > begun and word.answered and word.answered < called
        ]  # fmt: skip
        assert not too_late, f"a login outlived the end of its sid, {model}"
        if replaced is not None:
            replaced.has_ended()
        one = Held(cookie_of(browser), sub, sid, "")
        if meant:
            one.begins_to_end()
        model.held.append(one)
        await self.look(one)

    async def look_around(self) -> None:
        """Look at some session."""
        one = self.choose()
        if one is not None:
            await self.look(one)

    async def look(self, one: Held, service: int | None = None) -> None:
        """Ask who is signed in, or call the API."""
        asked = now()
        if one.display_id and self.random.random() < 0.5:
            answer = await self.ask("/api/me", one, service=service)
            served = answer.status_code == 200
            assert served or answer.status_code == 401, answer.text
        else:
            answer = await self.ask("/bff/session", one, service=service)
            assert answer.status_code == 200, answer.text
            served = answer.json()["authenticated"]
            if served:
                one.display_id = answer.json()["session"]["id"]
        if served:
            self.model.served(one, asked, "look")
        else:
            self.model.refused(one, "look")

    async def refresh(self) -> None:
        """Refresh the tokens now."""
        one = self.choose()
        if one is None:
            return
        asked = now()
        answer = await self.ask("/bff/refresh", one, "POST")
        if answer.status_code == 200:
            self.model.served(one, asked, "refresh")
        else:
            assert answer.status_code == 401, answer.text
            self.model.refused(one, "refresh")

    async def sign_out(self) -> None:
        """Sign out."""
        one = self.choose()
        if one is None:
            return
        one.begins_to_end()
        answer = await self.ask("/bff/logout", one, "POST")
        assert answer.status_code == 200, answer.text
        one.has_ended()

    async def end_one(self) -> None:
        """End another session of the same user."""
        one = self.choose()
        others = [other for other in self.model.held if one and other.sub == one.sub]
        other = self.random.choice(others) if others else None
        if one is None or other is None or not other.display_id:
            return
        other.begins_to_end()
        asked = now()
        answer = await self.ask(f"/bff/sessions/{other.display_id}", one, "DELETE")
        if answer.status_code == 401:
            self.model.refused(one, "end one")
            return
        assert answer.status_code in {204, 404}, answer.text
        self.model.served(one, asked, "end one")
        other.has_ended()

    async def end_others(self) -> None:
        """End all other sessions of the same user."""
        one = self.choose()
        if one is None:
            return
        word = SignOut(one.sub, None)
        others = [other for other in self.model.of(one.sub, None) if other is not one]
        await self._say(word, others, self.ask("/bff/sessions", one, "DELETE"), one)

    async def provider_ends_sid(self) -> None:
        """Have the provider sign one of its sessions out."""
        one = self.choose()
        if one is not None:
            word = SignOut(None, one.sid)
            told = self.fleet.provider_says(self.random.randrange(2), sid=one.sid)
            await self._say(word, self.model.of(None, one.sid), told)

    async def provider_ends_sub(self) -> None:
        """Have the provider sign a user out everywhere."""
        sub = self.random.choice(USERS)
        word = SignOut(sub, None)
        told = self.fleet.provider_says(self.random.randrange(2), sub=sub)
        await self._say(word, self.model.of(sub, None), told)

    async def _say(
        self,
        word: SignOut,
        meant: Iterable[Held],
        request: Awaitable[httpx2.Response],
        asker: Held | None = None,
    ) -> None:
        self.model.sign_outs.append(word)
        for one in meant:
            one.begins_to_end()
        asked = now()
        answer = await request
        word.answered = now()
        if asker is not None and answer.status_code == 401:
            self.model.refused(asker, "end others")
            return
        assert answer.status_code in {200, 204}, answer.text
        if asker is not None:
            self.model.served(asker, asked, "end others")
        for one in meant:
            one.has_ended()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Two processes of the service at one Redis."""
    async with open_fleet(tmp_path, services=2) as fleet:
        yield fleet


async def test_what_has_ended_stays_ended(fleet: Fleet) -> None:
    """The model and both services agree, all the time and in the end."""
    seed = int(os.environ.get("BFF_TEST_SEED", time.time_ns() % 1_000_000))
    model = Model(seed)
    until = now() + SECONDS
    async with asyncio.TaskGroup() as group:
        for number in range(ACTORS):
            group.create_task(Actor(fleet, model, seed + number).live(until))
    await asyncio.sleep(HEARD)
    last = Actor(fleet, model, seed)
    for service in (0, 1):
        for one in model.held:
            await last.look(one, service)
    alive = [one for one in model.held if one.over is None]
    assert len(alive) == sum([1 async for _ in fleet.redis.scan("bff:{*}:session")])
    assert len(model.held) > 20
    assert model.done["login refused"] or model.done["provider_ends_sub"], model
    print(model)
