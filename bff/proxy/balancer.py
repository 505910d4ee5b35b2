"""Which address of a route is asked next, and which is left out for a while. Pure.

Rules: addresses take turns; one that cannot be reached is left out at once, one that does not
answer after so many failures in a row; a failure counts only where the address has answered nobody
since that request set out, so that a slow page of an API that works takes no address away; who is
left out again soon after coming back stays out twice as long; when its time is over, one request at
a time tries it, and only that one's fate decides.

       failures in a row            its time is over
    serving ─────────▶ left out ─────────────────────▶ on trial ─────▶ serving
                          ▲                                │  answered
                          └──────── failed: longer ────────┘

With one address this is a circuit breaker (closed, open, half-open). Times are seconds of a
monotonic clock that the caller reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from bff.proxy.wire import Address

FIRST_HOLD = 1.0
LONGEST_HOLD = 15.0


class Pick(NamedTuple):
    """The address that a request goes to; `trial` tells that its fate decides for the address."""

    address: Address
    number: int
    at: float
    trial: bool


@dataclass(slots=True)
class _State:
    """What is known of one address. `until` is None while it serves."""

    failures: int = 0
    answered_at: float = -inf
    serving_since: float = -inf
    hold: float = 0.0
    until: float | None = None
    on_trial: bool = False


class Balancer:
    """The addresses of one route. Every pick must be reported once: answered, failed or dropped."""

    def __init__(self, addresses: Sequence[Address], failures: int) -> None:
        self._addresses = tuple(addresses)
        self._states = [_State() for _ in self._addresses]
        self._limit = failures
        self._turn = 0

    def choose(self, now: float, tried: Collection[int] = ()) -> Pick | None:
        """Return the next address for a request that has `tried` some; None where all are out."""
        count = len(self._addresses)
        for step in range(count):
            number = (self._turn + step) % count
            state = self._states[number]
            if number in tried or state.on_trial or (state.until is not None and now < state.until):
                continue
            self._turn = (number + 1) % count
            state.on_trial = state.until is not None
            return Pick(self._addresses[number], number, now, state.on_trial)
        return None

    def wait(self, now: float) -> float:
        """Return the seconds until an address may be tried again; 0.0 where one may be now."""
        return max(0.0, min((state.until or now) - now for state in self._states))

    def answered(self, pick: Pick, now: float) -> bool:
        """Note an answer, whatever its status. Return whether the address is back by it."""
        state = self._states[pick.number]
        state.answered_at = now
        state.failures = 0
        if not pick.trial:
            return False
        state.on_trial = False
        state.until = None
        state.serving_since = now
        return True

    def failed(self, pick: Pick, now: float, *, at_once: bool) -> float | None:
        """Note a failure. Return for how many seconds the address is newly left out, else None.

        `at_once`: the address could not be reached, and there are others.
        """
        state = self._states[pick.number]
        if pick.trial:
            state.on_trial = False
            self._leave_out(state, now)
            return None
        if state.until is not None or (state.answered_at >= pick.at and not at_once):
            return None
        state.failures += 1
        if state.failures < self._limit and not at_once:
            return None
        self._leave_out(state, now)
        return state.hold

    def dropped(self, pick: Pick) -> None:
        """Note that a request was given up before anything could be learned from it."""
        if pick.trial:
            self._states[pick.number].on_trial = False

    def _leave_out(self, state: _State, now: float) -> None:
        relapse = state.until is not None or now - state.serving_since <= LONGEST_HOLD
        state.hold = min(2 * state.hold, LONGEST_HOLD) if relapse else FIRST_HOLD
        state.until = now + state.hold
        state.failures = 0
