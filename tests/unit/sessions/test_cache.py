"""Opened records of a worker: kept only while it is sure to hear, never when overtaken."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.sessions.cache import MAX_AGE, Reading, SessionCache, size_of
from bff.sessions.session import Session, UpstreamToken
from bff.sessions.store import EndReason, SessionStore
from tests.support.clock import Clock
from tests.support.sessions import a_session

ONE, TWO, THREE = (a_session(name) for name in ("one", "two", "three"))


CLAIMS = {
    "name": "Alice Smith", "given_name": "Alice", "family_name": "Smith", "locale": "en-GB",
    "email": "alice@example.com", "email_verified": True, "roles": ["customer", "reader"],
}  # fmt: skip


class Proof:
    """Whether the channel is proven alive, as a test says."""

    holds = True

    def __call__(self) -> bool:
        return self.holds


@pytest.fixture
def proof() -> Proof:
    """The proof that messages come."""
    return Proof()


@pytest.fixture
def cache(proof: Proof, clock: Clock) -> SessionCache:
    """A cache for two records of a hundred bytes."""
    return SessionCache(proof, clock, max_entries=2, max_bytes=250)


def read(cache: SessionCache, session: Session = ONE, size: int = 100) -> None:
    """Let a read bring a session."""
    cache.finish(cache.begin(session.key), session, size)


def test_what_was_read_is_kept_for_a_while(cache: SessionCache, clock: Clock) -> None:
    """Half a minute, and not for ever."""
    assert cache.get(ONE.key) is None
    read(cache)
    assert cache.get(ONE.key) is ONE
    clock.advance(MAX_AGE)
    assert cache.get(ONE.key) is ONE
    clock.advance(0.1)
    assert cache.get(ONE.key) is None
    assert len(cache) == 0


def test_what_was_not_there_is_not_kept(cache: SessionCache) -> None:
    """No record is no entry."""
    cache.finish(cache.begin(ONE.key), None, 0)
    assert len(cache) == 0


@pytest.mark.parametrize("message", ["ended", "changed", "forget", "missed"])
def test_a_message_takes_it_out(cache: SessionCache, message: str) -> None:
    """Whatever happened to a session, what is kept of it goes; of others only if messages may
    have been lost."""
    read(cache)
    read(cache, TWO)
    if message == "ended":
        cache.ended(ONE.key, EndReason.LOGOUT)
    elif message == "missed":
        cache.missed()
    else:
        getattr(cache, message)(ONE.key)
    assert cache.get(ONE.key) is None
    assert (cache.get(TWO.key) is TWO) is (message != "missed")


@pytest.mark.parametrize("message", ["ended", "changed", "forget", "missed"])
def test_a_read_that_a_message_overtakes_is_not_kept(cache: SessionCache, message: str) -> None:
    """It may have been answered before the change that the message tells of."""
    first, second, other = cache.begin(ONE.key), cache.begin(ONE.key), cache.begin(TWO.key)
    if message == "ended":
        cache.ended(ONE.key, EndReason.LOGOUT)
    elif message == "missed":
        cache.missed()
    else:
        getattr(cache, message)(ONE.key)
    third = cache.begin(ONE.key)
    cache.finish(first, ONE, 1)
    cache.finish(second, ONE, 1)
    assert cache.get(ONE.key) is None
    cache.finish(other, TWO, 1)
    assert (cache.get(TWO.key) is TWO) is (message != "missed")
    cache.finish(third, ONE, 1)
    assert cache.get(ONE.key) is ONE


def test_without_proof_it_is_off_and_empty(cache: SessionCache, proof: Proof) -> None:
    """Nothing is served, nothing kept, and what there was is gone when the proof is back."""
    read(cache)
    under_way = cache.begin(TWO.key)
    proof.holds = False
    assert cache.get(ONE.key) is None
    read(cache, THREE)
    proof.holds = True
    assert cache.get(ONE.key) is cache.get(THREE.key) is None
    cache.finish(under_way, TWO, 1)
    assert cache.get(TWO.key) is None


def test_what_was_not_used_for_longest_goes_first(cache: SessionCache) -> None:
    """By number, and by bytes; a newer read takes the place of an older one."""
    read(cache, ONE)
    read(cache, TWO)
    assert cache.get(ONE.key)
    read(cache, THREE)
    assert cache.get(TWO.key) is None
    assert cache.get(ONE.key)
    assert cache.get(THREE.key)
    read(cache, ONE, 240)
    assert cache.get(ONE.key)
    assert cache.get(THREE.key) is None
    read(cache, TWO, 1000)
    assert len(cache) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "finish", "forget", "get", "advance", "silence"]),
        st.sampled_from([ONE, TWO, THREE]),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_order_of_events_serves_an_ended_session(steps: list[tuple[str, Session]]) -> None:
    """A session that ended is never served from here, whatever else happens in what order.

    A read that began before the ending may bring the session; one that began after cannot.
    """
    clock, proof = Clock(), Proof()
    cache = SessionCache(proof, clock, max_entries=2, max_bytes=250)
    ended: set[str] = set()
    under_way: list[tuple[Reading, Session | None]] = []
    for step, session in steps:
        key = session.key
        if step == "begin":
            under_way.append((cache.begin(key), None if key in ended else session))
        elif step == "finish" and under_way:
            reading, found = under_way.pop(0)
            cache.finish(reading, found, 100)
        elif step == "forget":
            ended.add(key)
            cache.ended(key, "logout")
        elif step == "advance":
            clock.advance(10)
        elif step == "silence":
            proof.holds = not proof.holds
        found_here = cache.get(key)
        assert found_here is None or (proof.holds and key not in ended)
        assert len(cache) <= 2


async def test_a_store_uses_it(store: SessionStore, proof: Proof, clock: Clock) -> None:
    """Loads are served from it; every write of our own is seen at once; time still counts."""
    store.cache = SessionCache(proof, Clock())
    await store.create(ONE, issued_at=ONE.created_at, started_at=0)
    assert await store.load(ONE.key) == ONE.at_hand()
    assert await store.load(ONE.key) is await store.load(ONE.key)
    fresh = ONE.with_tokens(ONE.tokens)
    assert await store.save(fresh)
    assert await store.reload(ONE.key) == fresh
    assert await store.load(ONE.key) == fresh.at_hand()
    clock.advance(100)
    assert (await store.touch(fresh)).last_used_at == clock.now
    found = await store.load(ONE.key)
    assert found is not None
    assert found.last_used_at == clock.now
    clock.advance(1800)
    assert await store.load(ONE.key) is None
    clock.advance(-1800)
    assert await store.load(ONE.key) is not None
    await store.end(ONE.key, EndReason.LOGOUT)
    assert await store.load(ONE.key) is None


async def test_requests_that_come_together_open_a_record_once(
    store: SessionStore, proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All get the same session, and the next turn of the event loop reads anew."""
    await store.create(ONE, issued_at=ONE.created_at, started_at=0)
    store.cache = SessionCache(proof, Clock())
    opened: list[str] = []
    real = Session.parse

    def parse(plain: bytes, key: str, generation: int, used_at: float, *, whole: bool) -> Session:
        opened.append(key)
        return real(plain, key, generation, used_at, whole=whole)

    monkeypatch.setattr(Session, "parse", parse)
    found = await asyncio.gather(*(store.load(ONE.key) for _ in range(50)))
    assert opened == [ONE.key]
    assert all(one is store.cache.get(ONE.key) for one in found)
    assert await store.reload(ONE.key) == ONE
    assert opened == [ONE.key] * 2


def test_what_is_too_old_goes_as_others_come(proof: Proof, clock: Clock) -> None:
    """Sessions that nobody asks for any more take no memory for longer than they may be served."""
    cache = SessionCache(proof, clock)
    for number in range(20):
        read(cache, a_session(f"old-{number}"))
    clock.advance(MAX_AGE + 1)
    for number in range(7):
        read(cache, a_session(f"new-{number}"))
    assert len(cache) == 7
    assert all(cache.get(a_session(f"new-{number}").key) for number in range(7))


def test_memory_is_counted_as_it_is() -> None:
    """A session takes its token, its claims at any depth, and what stands around them."""
    plain = size_of(ONE.at_hand())
    assert size_of(replace(ONE, claims={**ONE.claims, "n": "x" * 900})) >= plain + 900
    deep = {"address": {"lines": ["x" * 900, {"more": "x" * 900}]}}
    assert size_of(replace(ONE, claims=deep)) >= plain + 1800
    longer = replace(ONE, tokens=replace(ONE.tokens, access_token="x" * 1300))
    assert plain + 1200 <= size_of(longer) <= plain + 1300
    other = UpstreamToken("x" * 700, 0, None, frozenset(), exchanged=True)
    assert size_of(replace(ONE, upstream_tokens={"orders": other})) >= plain + 700


def test_what_is_counted_is_what_python_takes(proof: Proof, clock: Clock) -> None:
    """The bound on bytes holds: sessions as a login makes them take no more than is counted."""
    plain, cache, number = (
        a_session(access_token="x" * 1300, claims=CLAIMS).dump(),
        SessionCache(proof, clock),
        500,
    )
    counted = 0
    gc.collect()
    tracemalloc.start()
    try:
        for n in range(number):
            session = Session.parse(plain, f"key-{n}", 0, clock.now).at_hand()
            counted += size_of(session)
            read(cache, session)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) == number
    assert 0.5 * counted < taken < counted
