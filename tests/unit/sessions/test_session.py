"""The session's clocks, and its record on the way to Redis and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.dpop import ProofKey
from bff.sessions.device import Device
from bff.sessions.session import Session, Tokens, UpstreamToken, absolute_end
from tests.support.sessions import a_session

NOW = 1_800_000_000.0


def tokens(lifetime: float | None) -> Tokens:
    """Return tokens that were granted just now."""
    return Tokens.granted(
        access_token="a", expires_in=lifetime, refresh_token=None, id_token="i",
        scope=frozenset(), now=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lifetime", "after", "due", "expired"),
    [
        (300, 0, False, False), (300, 240, False, False), (300, 240.1, True, False),
        (300, 299.9, True, False), (300, 300, True, True), (300, 1e6, True, True),
        (100, 80, False, False), (100, 80.1, True, False),
        (3600, 3539, False, False), (3600, 3541, True, False),
        (5, 4, False, False), (5, 4.1, True, False),
        (0, 0, False, True), (0, 1, True, True),
        (None, 1e9, False, False),
    ],
)  # fmt: skip
def test_when_an_access_token_is_due(
    lifetime: float | None, after: float, *, due: bool, expired: bool
) -> None:
    """Less than 60 s left, or a fifth of its lifetime if that is shorter (contract, 2)."""
    found = tokens(lifetime)
    assert found.due(NOW + after) is due
    assert found.expired(NOW + after) is expired


@given(st.floats(1, 1e6), st.floats(0, 1e7))
def test_an_expired_token_is_due(lifetime: float, after: float) -> None:
    """What is past its time is always due, and what is due stays due."""
    found = tokens(lifetime)
    if found.expired(NOW + after):
        assert found.due(NOW + after)
    if found.due(NOW + after):
        assert found.due(NOW + after + 1)


@pytest.mark.parametrize(
    ("after", "idle", "alive"),
    [(0, 1800, True), (1799, 1800, True), (1800, 1800, False), (43_199, 1e6, True),
     (43_200, 1e6, False), (-100, 1800, True)],
)  # fmt: skip
def test_two_clocks_end_a_session(after: float, idle: float, *, alive: bool) -> None:
    """Idle since the last use, absolute since sign-in."""
    session = a_session(now=NOW)
    assert session.alive(NOW + after, idle) is alive
    assert session.idle_ends_at(idle) == NOW + min(idle, 43_200)


def test_using_it_puts_off_the_idle_end_only() -> None:
    """The absolute end stays where it is."""
    used = replace(a_session(now=NOW), last_used_at=NOW + 43_000)
    assert used.idle_ends_at(1800) == NOW + 43_200
    assert used.alive(NOW + 43_100, 1800)
    assert not used.alive(NOW + 43_200, 1800)


@pytest.mark.parametrize(
    ("after", "idle", "due"),
    [(0, 1800, False), (59, 1800, False), (60, 1800, True), (4, 20, False), (5, 20, True)],
)
def test_a_use_is_written_now_and_then(after: float, idle: float, *, due: bool) -> None:
    """At most once a minute; oftener where the idle time-out is short."""
    assert a_session(now=NOW).touch_due(NOW + after, idle) is due


def test_new_tokens_are_a_new_generation() -> None:
    """A refresh changes tokens and generation, and nothing else."""
    session = a_session(now=NOW)
    fresh = session.with_tokens(tokens(60))
    assert fresh == replace(session, tokens=tokens(60), generation=1)


TEXT = st.text(max_size=12)
TIMES = st.floats(0, 2e9)
JSON = st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2)


@given(
    st.builds(
        Session,
        key=TEXT,
        generation=st.integers(0, 2**63),
        iss=TEXT,
        sub=TEXT,
        sid=st.none() | TEXT,
        claims=st.dictionaries(TEXT, JSON, max_size=3),
        tokens=st.builds(
            Tokens,
            access_token=TEXT,
            obtained_at=TIMES,
            expires_at=st.none() | TIMES,
            refresh_token=st.none() | TEXT,
            id_token=TEXT,
            scope=st.frozensets(st.text("abc:/.", min_size=1, max_size=5), max_size=3),
        ),
        created_at=TIMES,
        last_used_at=TIMES,
        ends_at=TIMES,
        device=st.builds(Device, TEXT, TEXT),
        provider=st.just("default") | TEXT,
        session_state=st.none() | TEXT,
        proof_key=st.none() | st.binary(min_size=32, max_size=32).map(ProofKey),
    )
)
def test_a_record_is_read_back_as_it_was_written(session: Any) -> None:
    """Every session survives the way to Redis and back."""
    found = Session.parse(session.dump(), session.key, session.generation, session.last_used_at)
    assert found == session
    assert isinstance(found.device, Device)


def test_its_display_id_opens_nothing() -> None:
    """It names a session in the log and to its owner, and is not its key."""
    one, two = a_session("one"), a_session("two")
    assert one.display_id == a_session("one", now=5).display_id != two.display_id
    assert one.display_id not in one.key
    assert len(one.display_id) == 20


@pytest.mark.parametrize(
    ("claims", "end"),
    [
        ({}, 1600),
        ({"session_expiry": 1300}, 1300),
        ({"session_expiry": 1300.9}, 1300),
        ({"session_expiry": 9999}, 1600),
        ({"session_expiry": 900}, 900),
        ({"session_expiry": "1300"}, 1600),
        ({"session_expiry": True}, 1600),
        ({"session_expiry": None}, 1600),
    ],
)
def test_a_session_never_outlives_the_providers(claims: dict[str, object], end: int) -> None:
    """The absolute end is ours, or that of the provider's session where it is sooner."""
    assert absolute_end(1000.5, 600, claims) == end


UPSTREAM = {
    "aaaa": UpstreamToken("for-a", NOW, NOW + 60, frozenset({"a", "b"}), exchanged=False),
    "bbbb": UpstreamToken("h.e.y", NOW, None, frozenset(), exchanged=True),
}


def test_tokens_for_upstreams_are_in_the_record() -> None:
    """They come back as they were; a record without them is as it always was."""
    session = a_session(upstream_tokens=UPSTREAM)
    assert Session.parse(session.dump(), session.key, 0, session.last_used_at) == session
    plain = a_session().dump()
    assert len(json.loads(plain[4 : 4 + int.from_bytes(plain[:4], "big")])) == 11


def test_a_refresh_drops_what_was_exchanged_for_the_old_token() -> None:
    """What was got by `resource` has a life of its own."""
    session = a_session(upstream_tokens=UPSTREAM)
    assert set(session.with_tokens(tokens(300)).upstream_tokens) == {"aaaa"}


def test_a_new_token_for_an_upstream_takes_the_place_of_the_old() -> None:
    """With the refresh token that came beside it; expired ones of others go on the way."""
    session = a_session(upstream_tokens=UPSTREAM)
    new = UpstreamToken("new", NOW + 100, NOW + 200, frozenset(), exchanged=True)
    found = session.with_upstream_token("bbbb", new, "refresh-two")
    assert found.upstream_tokens == {"bbbb": new}
    assert found.tokens == replace(session.tokens, refresh_token="refresh-two")
    assert found.generation == session.generation + 1


def test_a_session_at_hand_has_what_requests_need() -> None:
    """All but the ID token and what the refresh token says; whether there is one can be told."""
    session = a_session(session_state="st", provider="corp")
    kept = session.at_hand()
    assert kept.tokens.access_token == session.tokens.access_token
    assert kept.tokens.refresh_token == kept.tokens.id_token == ""
    whole = replace(
        kept.tokens,
        refresh_token=session.tokens.refresh_token,
        id_token=session.tokens.id_token,
        whole=True,
    )
    assert replace(kept, tokens=whole) == session
    assert a_session(refresh_token=None).at_hand().tokens.refresh_token is None


@pytest.mark.parametrize("refresh_token", ["refresh-one", "a.b.c", "", None])
def test_a_record_is_opened_as_far_as_it_is_needed(refresh_token: str | None) -> None:
    """Opening what is at hand is the same as opening all and leaving the rest out."""
    token = UpstreamToken("access-orders", NOW, NOW + 300, frozenset({"orders"}), exchanged=True)
    session = a_session(refresh_token=refresh_token, upstream_tokens={"orders": token})
    plain = session.dump()
    whole = Session.parse(plain, session.key, 0, session.last_used_at)
    kept = Session.parse(plain, session.key, 0, session.last_used_at, whole=False)
    assert whole == session
    assert kept == session.at_hand()


def test_a_session_at_hand_is_never_written() -> None:
    """A record made of it would have lost its refresh token for good."""
    kept = a_session().at_hand()
    with pytest.raises(ValueError, match="read it again"):
        kept.dump()
    with pytest.raises(ValueError, match="read it again"):
        kept.with_tokens(kept.tokens).dump()


def test_what_is_alike_is_kept_once() -> None:
    """Records of one provider share the strings and sets that say the same."""
    one, two = (Session.parse(a_session(name).dump(), name, 0, NOW) for name in ("one", "two"))
    assert one.iss is two.iss
    assert one.tokens.scope is two.tokens.scope
    assert one.device.browser is two.device.browser
    assert [id(name) for name in one.claims] == [id(name) for name in two.claims]
