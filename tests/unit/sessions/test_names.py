"""Names of keys in Redis: they tell nothing, and no two things share one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bff.sessions import names

PARTS = st.lists(st.text(max_size=6), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_different_parts_hash_differently(one: list[str], two: list[str]) -> None:
    """Parts are length-prefixed: no shifting of a boundary gives the same name."""
    assert (names.digest("p", *one) == names.digest("p", *two)) is (one == two)


def test_boundaries_between_parts_count() -> None:
    """`iss|sid` of one provider never meets that of another."""
    assert names.digest("p", "a", "bc") != names.digest("p", "ab", "c")
    assert names.digest("p", "a|b", "c") != names.digest("p", "a", "b|c")
    assert names.digest("p", "a") != names.digest("p", "a", "")
    assert names.digest("p", "a") != names.digest("q", "a")
    assert names.digest("p") != names.digest("p", "")


def test_purposes_are_apart() -> None:
    """A user and a provider session of the same text are two groups."""
    assert names.group_of_sid("i", "x") != names.group_of_sub("i", "x")
    assert names.login("b", "s") != names.once("login", "b", "s")


@given(st.text())
def test_a_name_shows_nothing(text: str) -> None:
    """Whatever goes in, 43 characters of base64url come out."""
    found = names.session_key(text)
    assert len(found) == 43
    assert not set(found) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_keys_that_one_script_touches_share_a_slot() -> None:
    """The braces are the same for a session's keys, and for a group's."""

    def slot(name: str) -> str:
        assert name.count("{") == name.count("}") == 1
        return name.partition("{")[2].partition("}")[0]

    key = names.session_key("one")
    assert {slot(name(key)) for name in (names.record, names.tombstone, names.lease)} == {key}
    assert names.key_of_record(names.record(key)) == key
    group = names.group_of_sub("i", "s")
    assert slot(names.index(group)) == slot(names.logged_out(group)) == group
    everything = {
        name(key)
        for name in (names.record, names.tombstone, names.lease, names.index, names.logged_out)
    }
    assert len(everything) == 5


def test_messages_say_what_happened_to_whom() -> None:
    """One message for an ending, another for a change."""
    assert names.ended_message("k", "logout") == "ended k logout"
    assert names.changed_message("k") == "changed k"
