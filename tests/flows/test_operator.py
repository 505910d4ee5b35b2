"""`bff sessions`: an operator counts, lists and ends sessions, beside running workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.command_line import CommandLine, Ran
from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.keep_alive import Connection
from tests.support.site import signed_in
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Desk:
    """An operator, at a service of two workers, with the service's own configuration."""

    fleet: Fleet
    command_line: CommandLine

    async def run(self, *arguments: str, **env: str) -> Ran:
        """Run `bff sessions`."""
        return await self.command_line.run("sessions", *arguments, **env)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """The service, and its operator."""
    folder = tmp_path_factory.mktemp("operator")
    async with open_fleet(folder, workers=2) as fleet:
        env = {**fleet.services[0].env, "COLUMNS": "200"}
        async with CommandLine(folder, env) as command_line:
            yield Desk(fleet, command_line)


@pytest_asyncio.fixture(loop_scope="module")
async def people(desk: Desk) -> AsyncIterator[dict[str, list[UserAgent]]]:
    """Three sessions of alice's, two of bob's; nobody else's."""
    yield {
        "alice": [await desk.fleet.signed_in() for _ in range(3)],
        "bob": [await desk.fleet.signed_in("bob") for _ in range(2)],
    }
    for sub in ("alice", "bob"):
        await desk.fleet.provider_says(sub=sub)


async def test_counting_and_listing(desk: Desk, people: dict[str, list[UserAgent]]) -> None:
    """All, or a user's; for people and for programs; in pages, the newest first."""
    everybody, alices, nobodys, shown, page, beyond = await asyncio.gather(
        desk.run("count", "--json"),
        desk.run("count", "--sub", "alice"),
        desk.run("list", "--sub", "mallory", "--json"),
        desk.run("list"),
        desk.run("list", "--json", "--size", "2", "--page", "2"),
        desk.run("list", "--json", "--size", "2", "--page", "4"),
    )
    ran = (everybody, alices, nobodys, shown, page, beyond)
    assert [(one.code, one.err) for one in ran] == [(0, "")] * 6
    assert everybody.json() == {"count": 5}
    assert alices.out == "3\n"
    assert nobodys.json() == {"count": 0, "page": 1, "sessions": []}
    assert beyond.json() == {"count": 5, "page": 4, "sessions": []}
    assert page.json()["count"] == 5
    assert [row["sub"] for row in page.json()["sessions"]] == ["alice", "alice"]
    assert list(page.json()["sessions"][0]) == [
        "id", "sub", "created_at", "last_used_at", "address", "browser",
    ]  # fmt: skip
    lines = shown.out.splitlines()
    assert lines[0].split() == ["id", "sub", "created", "last", "used", "address", "browser"]
    assert len(lines) == 7
    assert "Chrome on Linux" in lines[1]
    assert lines[-1] == "5 sessions, page 1 of 1"
    newest = await people["bob"][-1].fetch("/bff/session")
    assert lines[1].split()[0] == newest.json()["session"]["id"]


async def test_nothing_secret_is_printed(desk: Desk, people: dict[str, list[UserAgent]]) -> None:
    """No token, no cookie, no key."""
    ran = await desk.run("list", "--json")
    for browser in people["alice"]:
        session = await desk.fleet.session(browser)
        assert session is not None
        for secret in (session.key, session.tokens.access_token, session.tokens.id_token):
            assert secret not in ran.out
        assert cookie_of(browser).partition("=")[2].partition(".")[0] not in ran.out


async def test_ending_is_heard_by_running_workers(
    desk: Desk, people: dict[str, list[UserAgent]]
) -> None:
    """By id, by user, and all; each at once on every worker, with the reason on open streams."""
    fleet = desk.fleet
    connections = await fleet.spread(8)
    first, *alices = people["alice"]
    cookies = {
        cookie_of(one): one for one in (first, *alices, *people["bob"])
    }  # every worker has opened every record
    await asyncio.gather(*(ask_each(connection, list(cookies)) for connection in connections))
    display_id = (await first.fetch("/bff/session")).json()["session"]["id"]
    listener = (await fleet.connections(1))[0]
    await listener.send("/bff/events", cookie_of(first))
    assert (await listener.head())[0] == 200

    ran = await desk.run("end", display_id)
    assert (ran.code, ran.out, ran.err) == (0, "1 ended\n", "")
    heard = b"".join([piece async for piece in listener.pieces()])
    assert b'session.ended\ndata: {"reason":"ended_by_operator"}' in heard
    assert await ask_each(connections[0], [cookie_of(first)]) == [False]
    assert await asyncio.gather(*(signed_in(one) for one in alices)) == [True, True]
    assert fleet.minting.counted["revoked"] == 1

    ran = await desk.run("end", "--sub", "alice", "--json")
    assert (ran.code, ran.json()) == (0, {"ended": 2})
    states = await asyncio.gather(
        *(ask_each(connection, [cookie_of(one) for one in alices]) for connection in connections)
    )
    assert states == [[False, False]] * len(connections)
    assert [await signed_in(one) for one in people["bob"]] == [True, True]

    ran = await desk.run("end", "--all", "--json")
    assert (ran.code, ran.json()) == (0, {"ended": 2})
    assert [await signed_in(one) for one in people["bob"]] == [False, False]
    assert (await desk.run("count")).out == "0\n"
    assert fleet.minting.counted["revoked"] == 5


async def ask_each(connection: Connection, cookies: list[str]) -> list[bool]:
    """Return whether each of these is signed in, as the worker of a connection sees it."""
    answers = [await connection.ask("/bff/session", cookie) for cookie in cookies]
    return [answer.json()["authenticated"] for answer in answers]


async def test_a_login_on_its_way_is_not_forgotten(desk: Desk) -> None:
    """Who is about to come back from the provider when their sessions are ended is refused."""
    browser = desk.fleet.browser()
    callback = await desk.fleet.minting.begin(browser, "carol")
    assert (await desk.run("end", "--sub", "carol", "--json")).json() == {"ended": 0}
    assert (await browser.navigate(callback, follow=False)).status == 400
    assert not await signed_in(browser)
    assert (await desk.fleet.minting.sign_in(browser, "carol")).status == 200
    assert await signed_in(browser)


async def test_exit_codes(desk: Desk, people: dict[str, list[UserAgent]]) -> None:
    """0 when done, 1 where there is nothing to end by that id or no Redis, 2 for a wrong call."""
    unknown, nothing, both, zero, no_redis, no_settings, none_of_user = await asyncio.gather(
        desk.run("end", "AAAAAAAAAAAAAAAAAAAA"),
        desk.run("end"),
        desk.run("end", "x", "--all"),
        desk.run("list", "--page", "0"),
        desk.run("count", BFF_REDIS_URL="redis://127.0.0.1:1/0"),
        desk.run("count", BFF_ISSUER=""),
        desk.run("end", "--sub", "mallory"),
    )
    assert (unknown.code, unknown.out) == (1, "0 ended\n")
    assert (nothing.code, both.code, zero.code) == (2, 2, 2)
    assert "give an id, or --sub, or --all" in " ".join(nothing.err.split())
    assert (no_redis.code, no_redis.out) == (1, "")
    assert "Redis does not answer" in no_redis.err
    assert "Traceback" not in no_redis.err
    assert no_settings.code == 2
    assert "BFF_ISSUER" in no_settings.err
    assert (none_of_user.code, none_of_user.out) == (0, "0 ended\n")
    assert [await signed_in(one) for one in people["alice"]] == [True] * 3
