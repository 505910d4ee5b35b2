"""What the service does when nothing is in its way: one session, many, half a load, two workers."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.bench.load import Shape
from tests.bench.machine import CannotMeasureError, move
from tests.bench.measure import Sample, in_turn, middle, sample
from tests.bench.report import Finding, Section
from tests.bench.stage import Stage, Target

SESSIONS = 5000
MAX_WARM_UPS = 5
THINKERS = 64
MILLION = 1_000_000
STEP = 10.0
LONGEST = 900.0


def hot(stage: Stage, rounds: int, seconds: float) -> Section:
    """One session, beside a bare nginx and mod_auth_openidc."""
    section = Section(
        "hot",
        "One session, 32 connections",
        "Each proxy in turn on one core, wrk, upstream and Redis on the other; medians of "
        f"{rounds} rounds of {seconds:g} s. CPU: time of the proxy's processes per request. "
        "Memory: resident, of the proxy's processes together. Each session began with a real login "
        "at the dev provider; bare nginx puts one constant token into every request.",
    )
    found = in_turn(stage, (stage.service, stage.nginx, stage.apache), rounds, seconds)
    ours, bare, apache = (_add(section, name, samples) for name, samples in found.items())
    section.findings = [
        Finding.at_most("CPU per request, us", ours.cpu, 70, "{:.1f}"),
        Finding.ratio("CPU per request, to bare nginx", ours.cpu / bare.cpu),
        Finding.ratio("CPU per request, mod_auth_openidc to ours", apache.cpu / ours.cpu),
        Finding.at_least("requests/s, to bare nginx", ours.rate / bare.rate, 0.28),
        Finding.at_least("requests/s, to mod_auth_openidc", ours.rate / apache.rate, 4, "{:.1f}"),
        Finding.at_most("p99 to p50", ours.p99 / ours.p50, 3, "{:.1f}"),
    ]
    return section


def many(stage: Stage, rounds: int, seconds: float) -> Section:
    """A different session each time."""
    section = Section(
        "many",
        f"{SESSIONS:,} sessions, 32 connections",
        f"As above; every request takes one of {SESSIONS:,} sessions at random, each with tokens "
        "of its own, written through the store as a login writes them.",
    )
    crowd = replace(stage.service, name="bff, many", cookies=stage.seed(SESSIONS))
    served, tries = 0.0, 0
    while served < 3 * SESSIONS and tries < MAX_WARM_UPS:  # until nearly each record has been read
        served += sample(stage, crowd, seconds).rate * seconds
        tries += 1
    found = in_turn(stage, (stage.service, crowd), rounds, seconds)
    one, all_of_them = (_add(section, name, samples) for name, samples in found.items())
    ratio = all_of_them.rate / one.rate
    section.findings = [Finding.at_least("requests/s, to one session", ratio, 0.7)]
    return section


def half(stage: Stage, rounds: int, seconds: float) -> Section:
    """What a request through the service takes longer than one without it, at half its load."""
    section = Section(
        "half",
        "Half load: time that is added to a direct call",
        f"{THINKERS} connections of wrk, each pausing for a random whole number of milliseconds "
        "between requests, such that half of the service's greatest rate comes; the same load goes "
        "to the upstream itself in turn. Added: the difference of the two medians.",
    )
    most = sample(stage, stage.service, 2.0).rate
    shape = Shape(THINKERS, think=THINKERS / (most / 2) * 1e3)
    found = in_turn(stage, (stage.service, stage.direct), rounds, seconds, shape)
    ours, direct = (_add(section, name, samples) for name, samples in found.items())
    section.findings = [
        Finding.ratio("requests/s, to the greatest rate", ours.rate / most),
        Finding.at_most("added at p50, ms", ours.p50 - direct.p50, 1),
        Finding.at_most("added at p99, ms", ours.p99 - direct.p99, 3),
    ]
    return section


def workers(stage: Stage, rounds: int, seconds: float) -> Section:
    """Two workers on two cores, to one worker on one, the load on the same cores each time."""
    section = Section(
        "workers",
        "Two workers",
        "wrk, upstream and Redis share the cores of what is measured: one core for one worker and "
        "all of them, then two cores for two workers and all of them. With the load beside on a "
        "core of its own, one worker would have two cores already. What two cores of this machine "
        "do more than one, both being busy, bare nginx shows.",
    )
    found: dict[str, list[Sample]] = {}
    one, both = stage.cores.service, stage.cores.all
    targets = (
        (stage.service, one), (stage.two_workers, both),
        (stage.nginx, one), (stage.two_nginx_workers, both),
    )  # fmt: skip
    try:
        for number in range(rounds + 1):
            for target, on in targets:
                taken = _together(stage, target, on, seconds if number else 1.0)
                if number:
                    found.setdefault(target.name, []).append(taken)
    finally:
        stage.wrk.on = stage.cores.load
        move(stage.helpers, stage.cores.load)
    alone, two, bare, bare_two = (_add(section, name, taken) for name, taken in found.items())
    section.findings = [
        Finding.at_least("requests/s, to one worker", two.rate / alone.rate, 1.8),
        Finding.ratio("CPU per request, to one worker", two.cpu / alone.cpu),
        Finding.ratio("requests/s, to one worker, bare nginx", bare_two.rate / bare.rate),
    ]
    return section


def million(stage: Stage, rounds: int, seconds: float) -> Section:
    """The memory of a worker while it serves a million requests of one session, and of many."""
    section = Section(
        "memory",
        "Memory after a million requests",
        f"One worker, 32 connections; resident memory of the worker as the requests go by: of one "
        f"session, then of {SESSIONS:,} at random.",
        columns=("sessions", "requests", "memory MB"),
    )
    crowd = replace(stage.service, cookies=stage.seed(SESSIONS))
    for name, target in (("1", stage.service), (f"{SESSIONS:,}", crowd)):
        served, shown, taken = 0.0, 0.0, list[float]()
        until = time.monotonic() + LONGEST
        while served < MILLION:
            if time.monotonic() > until:
                raise CannotMeasureError(f"only {served:,.0f} requests in {LONGEST:.0f} s")
            one = sample(stage, target, STEP)
            served += one.rate * STEP
            taken.append(one.memory)
            if served >= min(shown + MILLION / 5, MILLION):
                shown = served
                section.rows.append((name, f"{served:,.0f}", f"{one.memory:.1f}"))
        quarter = taken[len(taken) // 4]
        section.findings += [
            Finding.at_most(f"memory at the end, sessions: {name}, MB", taken[-1], 100, "{:.1f}"),
            Finding.at_most(
                f"growth meanwhile, sessions: {name}, MB", taken[-1] - quarter, 2, "{:.1f}"
            ),
        ]
    return section


def _together(stage: Stage, target: Target, on: frozenset[int], seconds: float) -> Sample:
    stage.wrk.on = on
    move(stage.helpers, on)
    return sample(stage, target, seconds)


def _add(section: Section, name: str, samples: list[Sample]) -> Sample:
    found = middle(samples)
    section.add(name, found, samples)
    return found
