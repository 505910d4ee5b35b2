"""One sample: a load on a target for some seconds, what it cost, and that every answer was real.

An answer counts only if it is no error (wrk counts those), if it carries the upstream's body (one
is looked at, and the mean size says so), and if the upstream was asked for it with a bearer token
(it refuses others, and counts those it answered). Otherwise the run fails: a fast refusal is no
speed.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench import neighbours
from tests.bench.load import Running, Shape
from tests.bench.machine import CannotMeasureError, cpu_seconds, memory
from tests.bench.stage import Stage, Target

WARM_UP = 1.0
IN_FLIGHT = 200  # may be answered after wrk has ended, in this sample or the one before


@dataclass(frozen=True)
class Sample:
    """Requests a second; ms at the median and at the 99th percentile; CPU in us; memory in MB."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float

    def record(self) -> dict[str, Any]:
        """Return the sample for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Beside:
    """Requests that come at once beside those that are measured, and are all answered meanwhile.

    `at_upstream`: how many of them go to the upstream whose answers are counted.
    """

    begin: Callable[[], Running]
    requests: int
    at_upstream: int


def sample(
    stage: Stage,
    target: Target,
    seconds: float,
    shape: Shape | None = None,
    beside: Beside | None = None,
) -> Sample:
    """Measure once. Raises CannotMeasureError when answers were not what they should be."""
    shape = shape or Shape()
    others = 0 if beside is None else beside.at_upstream
    _see_the_body(target)
    pids = target.pids()
    answered = neighbours.answered(stage.upstream)
    before = cpu_seconds(pids)
    with ExitStack() as stack:
        running = stage.wrk.begin(target.url, target.cookies, seconds, shape, target.authorization)
        stack.callback(running.stop)
        if beside is not None:
            waiting = beside.begin()
            stack.callback(waiting.stop)
            came = waiting.outcome().requests
            if came != beside.requests:
                raise CannotMeasureError(f"of {beside.requests:,} requests {came:,} were answered")
        outcome = running.outcome()
    spent = cpu_seconds(pids) - before
    answered = neighbours.answered(stage.upstream) - answered - 1 - others
    if not outcome.requests <= answered <= outcome.requests + IN_FLIGHT:
        raise CannotMeasureError(
            f"{target.name}: {outcome.requests:,} answers came, the upstream gave {answered:,}"
        )
    if outcome.size < neighbours.BODY_SIZE:
        raise CannotMeasureError(f"{target.name}: answers of {outcome.size:.0f} bytes are no body")
    return Sample(
        outcome.rate, outcome.p50, outcome.p99, spent / outcome.requests * 1e6, memory(pids)
    )


def _see_the_body(target: Target) -> None:
    """Ask once, and see that the upstream's very answer comes."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    if target.cookies:
        headers["Cookie"] = target.cookies[0]
    if target.authorization:
        headers["Authorization"] = target.authorization
    request = urllib.request.Request(target.url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read().decode()
    except OSError as error:
        raise CannotMeasureError(f"{target.name}: {error}") from None
    if body != neighbours.json_body():
        raise CannotMeasureError(f"{target.name}: this is not the upstream's answer")


def in_turn(
    stage: Stage,
    targets: Iterable[Target],
    rounds: int,
    seconds: float,
    shape: Shape | None = None,
) -> dict[str, list[Sample]]:
    """Measure targets one after another, and that several times, after a moment of warm-up."""
    targets = list(targets)
    for target in targets:
        sample(stage, target, WARM_UP, shape)
    found: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            found[target.name].append(sample(stage, target, seconds, shape))
    return found


def middle(samples: Iterable[Sample]) -> Sample:
    """Return the median of each figure."""
    rows = [asdict(one) for one in samples]
    return Sample(**{name: median(row[name] for row in rows) for name in rows[0]})
