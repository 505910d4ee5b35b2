from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bff.demo.provider.expiring import ExpiringMap
from tests.unit.demo.driver import Clock


def test_an_entry_ends_on_time() -> None:
    """A value is there until its lifetime is over, and not a moment longer."""
    clock = Clock()
    entries: ExpiringMap[int] = ExpiringMap(clock, 10)
    entries["a"] = 1
    clock.now += 9.9
    assert entries.get("a") == 1
    clock.now += 0.1
    assert entries.get("a") is None
    assert entries.pop("a") is None
    assert len(entries) == 0


def test_a_full_map_forgets_the_oldest() -> None:
    """The limit holds, and it is the oldest that goes."""
    entries: ExpiringMap[int] = ExpiringMap(Clock(), 10, limit=2)
    for number, key in enumerate("abc"):
        entries[key] = number
    assert list(entries.values()) == [1, 2]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["set", "pop", "wait"]))))
def test_it_behaves_like_a_dictionary_with_deadlines(steps: list[tuple[str, str]]) -> None:
    """Whatever is done, what it holds is what a plain dictionary of deadlines says."""
    clock = Clock()
    entries: ExpiringMap[float] = ExpiringMap(clock, 3)
    model: dict[str, float] = {}
    for key, step in steps:
        if step == "set":
            entries[key] = model[key] = clock.now + 3
        elif step == "pop":
            deadline = model.pop(key, 0)
            assert entries.pop(key) == (deadline if deadline > clock.now else None)
        else:
            clock.now += 1
        alive = {name: deadline for name, deadline in model.items() if deadline > clock.now}
        assert sorted(entries.values()) == sorted(alive.values())
        assert len(entries) == len(alive)
        assert {name for name in "abcd" if entries.get(name) is not None} == set(alive)
    assert entries.get(None) is None
