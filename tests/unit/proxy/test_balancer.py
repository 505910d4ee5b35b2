"""Which address is asked next, when one is left out, and when it is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bff.proxy.balancer import FIRST_HOLD, LONGEST_HOLD, Balancer, Pick
from bff.proxy.wire import Address

A, B, C = (Address("http", name, 80) for name in "abc")


def picked(balancer: Balancer, now: float = 0.0, tried: tuple[int, ...] = ()) -> Pick:
    pick = balancer.choose(now, tried)
    assert pick is not None
    return pick


def test_addresses_take_turns() -> None:
    """Round robin, from the first on."""
    balancer = Balancer([A, B, C], 3)
    assert [picked(balancer).address for _ in range(7)] == [A, B, C, A, B, C, A]


def test_a_request_is_never_given_an_address_twice() -> None:
    """What was tried is skipped; when all were, there is none."""
    balancer = Balancer([A, B], 3)
    first = picked(balancer)
    second = picked(balancer, tried=(first.number,))
    assert {first.address, second.address} == {A, B}
    assert balancer.choose(0.0, (first.number, second.number)) is None


def test_an_address_that_cannot_be_reached_is_left_out_at_once() -> None:
    """The others take its turns until its time is over."""
    balancer = Balancer([A, B], 3)
    assert balancer.failed(picked(balancer), 0.0, at_once=True) == FIRST_HOLD
    assert {picked(balancer, 0.5).address for _ in range(4)} == {B}
    assert balancer.wait(0.5) == 0.0


def test_silence_leaves_an_address_out_after_some_failures_in_a_row() -> None:
    """An answer between them starts the count again."""
    balancer = Balancer([A], 3)
    for now in (1.0, 2.0):
        assert balancer.failed(picked(balancer, now), now, at_once=False) is None
    balancer.answered(picked(balancer, 3.0), 3.0)
    for now in (4.0, 5.0):
        assert balancer.failed(picked(balancer, now), now, at_once=False) is None
    assert balancer.failed(picked(balancer, 6.0), 6.0, at_once=False) == FIRST_HOLD
    assert balancer.choose(6.0) is None
    assert balancer.wait(6.25) == 0.75


def test_a_slow_page_does_not_speak_against_an_address_that_answers_others() -> None:
    """A failure counts only where nobody was answered since the request set out."""
    balancer = Balancer([A], 1)
    slow = picked(balancer, 0.0)
    balancer.answered(picked(balancer, 5.0), 5.1)
    assert balancer.failed(slow, 60.0, at_once=False) is None
    assert balancer.choose(60.0) is not None


def test_requests_that_were_under_way_do_not_count_twice() -> None:
    """A hundred that fail together leave the address out once, for the first time's length."""
    balancer = Balancer([A], 3)
    picks = [picked(balancer) for _ in range(100)]
    results = [balancer.failed(pick, 10.0, at_once=False) for pick in picks]
    assert [result for result in results if result is not None] == [FIRST_HOLD]
    assert balancer.wait(10.0) == FIRST_HOLD


def test_one_request_at_a_time_tries_an_address_whose_time_is_over() -> None:
    """Its answer brings the address back; an older request's answer does not."""
    balancer = Balancer([A], 1)
    old = picked(balancer, 0.0)
    assert balancer.failed(picked(balancer, 0.0), 1.0, at_once=False) == FIRST_HOLD
    assert balancer.answered(old, 1.5) is False
    assert balancer.choose(1.9) is None
    trial = picked(balancer, 2.0)
    assert trial.trial
    assert balancer.choose(2.0) is None
    assert balancer.answered(trial, 2.1) is True
    assert not picked(balancer, 2.2).trial


def test_a_trial_that_fails_leaves_the_address_out_for_longer() -> None:
    """Twice as long each time, up to a limit, and it is no news."""
    balancer = Balancer([A], 1)
    now = 100.0
    balancer.failed(picked(balancer, now), now, at_once=False)
    holds = []
    for _ in range(7):
        holds.append(balancer.wait(now))
        now += holds[-1]
        assert balancer.failed(picked(balancer, now), now, at_once=True) is None
    assert holds == [1.0, 2.0, 4.0, 8.0, LONGEST_HOLD, LONGEST_HOLD, LONGEST_HOLD]


@pytest.mark.parametrize(("served", "hold"), [(1.0, 2.0), (LONGEST_HOLD + 1, FIRST_HOLD)])
def test_a_relapse_soon_after_coming_back_lasts_longer(served: float, hold: float) -> None:
    """Who has served well for a while begins anew."""
    balancer = Balancer([A], 1)
    balancer.failed(picked(balancer, 0.0), 0.0, at_once=False)
    balancer.answered(picked(balancer, 1.0), 1.0)
    now = 1.0 + served
    assert balancer.failed(picked(balancer, now), now, at_once=False) == hold


def test_a_trial_that_was_given_up_makes_room_for_the_next() -> None:
    """A client that leaves has told nothing of the address."""
    balancer = Balancer([A], 1)
    balancer.failed(picked(balancer, 0.0), 0.0, at_once=False)
    trial = picked(balancer, 1.0)
    balancer.dropped(trial)
    assert picked(balancer, 1.0).trial


@given(st.integers(1, 6), st.integers(0, 30))
def test_turns_are_shared_evenly(count: int, turns: int) -> None:
    """No address is asked twice more often than another."""
    balancer = Balancer([Address("http", str(n), 80) for n in range(count)], 3)
    asked = [picked(balancer).number for _ in range(turns)]
    times = [asked.count(number) for number in range(count)]
    assert max(times) - min(times) <= 1


class Life(RuleBasedStateMachine):
    """Any order of requests and fates, checked against what may be seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.balancer = Balancer([A, B, C], 2)
        self.now = 0.0
        self.under_way: list[Pick] = []
        self.out: dict[int, float] = {}

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(tried=st.sets(st.integers(0, 2)))
    def choose(self, tried: set[int]) -> None:
        pick = self.balancer.choose(self.now, tried)
        serving = {0, 1, 2} - tried - self.out.keys()
        if pick is None:
            assert not serving
            return
        assert pick.number not in tried
        assert pick.trial is (pick.number in self.out)
        if pick.trial:
            assert self.now >= self.out[pick.number]
            on_trial = [one.number for one in self.under_way if one.trial]
            assert pick.number not in on_trial
        self.under_way.append(pick)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), at_once=st.booleans())
    def fail(self, data: st.DataObject, at_once: bool) -> None:
        pick = self._ended(data)
        hold = self.balancer.failed(pick, self.now, at_once=at_once)
        if hold is not None:
            assert pick.number not in self.out
            assert FIRST_HOLD <= hold <= LONGEST_HOLD
            self.out[pick.number] = self.now + hold
        elif pick.trial:
            self.out[pick.number] = self.now + 2 * FIRST_HOLD
        else:
            assert not at_once or pick.number in self.out

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        pick = self._ended(data)
        assert self.balancer.answered(pick, self.now) is pick.trial
        if pick.trial:
            del self.out[pick.number]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.balancer.dropped(self._ended(data))

    @invariant()
    def nobody_waits_longer_than_the_longest_time(self) -> None:
        assert 0.0 <= self.balancer.wait(self.now) <= LONGEST_HOLD

    def _ended(self, data: st.DataObject) -> Pick:
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))


TestLife = Life.TestCase
