"""Who is calling: from the cookie to a live session that is kept alive by being used."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.access import LONGEST_LINE, Access
from bff.sessions.cache import SessionCache
from bff.sessions.cookies import session_cookie
from bff.sessions.parties import Parties, Party
from bff.sessions.session import Session
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.sessions import a_session

from .conftest import SECRET

Headers = list[tuple[bytes, bytes]]


class Stub:
    """Stands for the refresher and for the service's own token."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def fresh(self, session: Session, *, force: bool = False) -> Session:
        """Note that new tokens were asked for."""
        self.asked.append((session, force))
        return session

    async def get(self) -> str:
        """Return a token."""
        return "client-token"


@pytest.fixture
def stub() -> Stub:
    """What stands for the rooms above."""
    return Stub()


@pytest.fixture
async def access(store: SessionStore, stub: Stub) -> AsyncIterator[Access]:
    """The room under test."""
    cookie = session_cookie([SECRET], loopback_http=True, same_site="strict")
    party = Party(stub, stub, stub, stub)  # type: ignore[arg-type]  # stand-ins
    access = Access(cookie, store, Parties({"default": party}), stub)  # type: ignore[arg-type]  # as above
    yield access
    await access.aclose()


@pytest.fixture
async def browser(access: Access, store: SessionStore, clock: Clock) -> tuple[Headers, Session]:
    """A browser that is signed in: its headers, and its session."""
    identifier, written = access.cookie.issue(os.urandom(32))
    session = replace(a_session(now=clock.now), key=names.session_key(identifier))
    await store.create(session, issued_at=clock.now, started_at=0)
    return [(b"cookie", written.partition(";")[0].encode())], session


async def test_a_cookie_finds_its_session(access: Access, browser: tuple[Headers, Session]) -> None:
    """The id in the cookie names the record."""
    headers, session = browser
    assert await access.session(headers) == session


async def test_without_a_good_cookie_nobody_is_asked(
    access: Access, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cookie, a forged one, and two of them cost Redis nothing."""
    monkeypatch.setattr(store, "load", None)
    for headers in ([], [(b"cookie", b"bff=forged")], [(b"cookie", b"bff=a; bff=b")]):
        assert await access.session(headers) is None


async def test_an_ended_session_is_none(
    access: Access, store: SessionStore, browser: tuple[Headers, Session]
) -> None:
    """A good cookie of an ended session signs nobody in."""
    headers, session = browser
    await store.end(session.key, EndReason.LOGOUT)
    assert await access.session(headers) is None


async def test_using_it_keeps_it_alive(
    access: Access, store: SessionStore, clock: Clock, browser: tuple[Headers, Session]
) -> None:
    """At most one write a minute; a look that does not slide writes nothing."""
    headers, session = browser
    clock.advance(59)
    assert await access.session(headers) == session
    clock.advance(1)
    assert await access.session(headers, slide=False) == session
    found = await access.session(headers)
    assert found is not None
    assert found.last_used_at == clock.now
    for _ in range(40):
        clock.advance(1000)
        found = await access.session(headers)
        assert found is not None
        await access.aclose()
    clock.advance(1801)
    assert await access.session(headers) is None


async def test_a_use_that_cannot_be_noted_is_a_use(
    access: Access,
    store: SessionStore,
    clock: Clock,
    browser: tuple[Headers, Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request goes on; the log has it."""

    async def away(_uses: object) -> None:
        raise StoreUnavailableError("test")

    headers, session = browser
    monkeypatch.setattr(store, "touch_all", away)
    clock.advance(100)
    with capture_logs() as logs:
        assert await access.session(headers) == replace(session, last_used_at=clock.now)
        await access.aclose()
    assert [line["event"] for line in logs] == ["session.touch_failed"]


async def test_tokens_come_from_the_rooms_for_them(
    access: Access, stub: Stub, browser: tuple[Headers, Session]
) -> None:
    """Fresh ones of a session, and the service's own."""
    _, session = browser
    assert await access.fresh(session) is session
    assert await access.fresh(session, force=True) is session
    assert stub.asked == [(session, False), (session, True)]
    assert await access.client_token() == "client-token"


@pytest.fixture
def kept(store: SessionStore, clock: Clock) -> SessionStore:
    """The store, with a cache of opened records."""
    store.cache = SessionCache(lambda: True, clock, max_age=10**6)
    return store


def at_hand(access: Access, headers: Headers) -> Session | None:
    """Return what is at hand for the cookies of a request, however they are given."""
    found = access.at_hand(access.cookie.values(headers))
    assert all(access.at_hand_by(line) == found for name, line in headers if name == b"cookie")
    return found


async def test_a_session_is_at_hand_once_it_was_opened(
    access: Access, kept: SessionStore, clock: Clock, browser: tuple[Headers, Session]
) -> None:
    """Then it costs nothing to find, and using it is noted all the same."""
    headers, session = browser
    assert at_hand(access, headers) is None
    assert await access.session(headers) == session.at_hand()
    assert at_hand(access, headers) == session.at_hand()
    clock.advance(61)
    assert at_hand(access, headers) == replace(session.at_hand(), last_used_at=clock.now)
    await access.aclose()
    found = await kept.reload(session.key)
    assert found is not None
    assert found.last_used_at == clock.now


async def test_long_lines_of_cookies_are_not_remembered(
    access: Access,
    kept: SessionStore,
    browser: tuple[Headers, Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are read each time, so that who is signed in fills no memory with them."""
    assert kept.cache is not None
    headers, session = browser
    await access.session(headers)
    read: list[bytes] = []
    values_in = access.cookie.values_in

    def counted(line: bytes) -> list[bytes]:
        read.append(line)
        return values_in(line)

    monkeypatch.setattr(access.cookie, "values_in", counted)
    for length, times in ((10, 1), (LONGEST_LINE, 3)):
        line = b"%b; other=%b" % (headers[0][1], b"a" * length)
        for _ in range(3):
            assert access.at_hand_by(line) == session.at_hand()
        assert read.count(line) == times


async def test_what_needs_work_is_not_at_hand(
    access: Access, kept: SessionStore, clock: Clock, browser: tuple[Headers, Session]
) -> None:
    """No cookie, a forged one, tokens to refresh, a session that ended or ran out of time."""
    headers, session = browser
    await access.session(headers)
    forged = [(b"cookie", headers[0][1][:-1] + b"!")]
    assert at_hand(access, []) is at_hand(access, forged) is at_hand(access, headers * 0) is None
    clock.advance(241)  # 59 of 300 seconds are left
    assert at_hand(access, headers) is None
    clock.advance(-241)
    assert at_hand(access, headers) == session.at_hand()
    clock.advance(1800)
    assert at_hand(access, headers) is None
    clock.advance(-1800)
    found = at_hand(access, headers)
    assert kept.cache is not None
    assert found is not None
    kept.cache.exchange(found, replace(found, provider="not configured any more"))
    assert at_hand(access, headers) is None
    await kept.end(session.key, EndReason.LOGOUT)
    assert at_hand(access, headers) is None
