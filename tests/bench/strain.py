"""What the service does when much is in its way: slow APIs, waves of refreshes, many logins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from tests.bench import provider
from tests.bench.load import Running, Shape
from tests.bench.logins import Place, bodies, sign_in
from tests.bench.machine import CannotMeasureError, cpu_seconds
from tests.bench.measure import WARM_UP, Beside, Sample, middle, sample
from tests.bench.report import Finding, Section
from tests.bench.stage import PATH, REFRESH_DELAY, Stage, Target

WAITING = 1000
DUE = 200
WINDOW = 10.0
MAX_ROUNDS = 3
SHARE = 0.9
BATCH = 200
LOGINS_AIM = 650.0


def storm(stage: Stage, rounds: int, seconds: float) -> Section:
    """Other routes while a thousand requests wait for two hundred refreshes."""
    section = Section(
        "storm",
        "A wave of refreshes, beside other requests",
        f"{WAITING:,} requests of {DUE} sessions come at once on as many connections; all their "
        f"tokens have expired, and the provider takes {REFRESH_DELAY:g} s for a refresh. Meanwhile "
        f"32 connections ask with another session; rounds of {WINDOW:g} s with and without the "
        "wave, in turn. All of the wave's own work is in the window.",
    )

    def wave() -> Beside:
        cookies = stage.seed(DUE, due=True, at_fast=True)
        return Beside(lambda: _once(stage, PATH, cookies), WAITING, WAITING)

    return _beside(stage, section, rounds, wave)


def slow(stage: Stage, rounds: int, seconds: float) -> Section:
    """Other routes while a thousand requests wait for an API."""
    section = Section(
        "slow",
        "A slow API, beside other requests",
        f"{WAITING:,} requests come at once on as many connections, to a route whose API takes "
        f"{provider.SLOW:g} s for each. Meanwhile 32 connections ask another route; rounds of "
        f"{WINDOW:g} s with and without, in turn. All of the slow requests' own work is in the "
        "window.",
    )

    def wave() -> Beside:
        cookies = stage.seed(1, at_fast=True)
        return Beside(lambda: _once(stage, "/slow/", cookies), WAITING, 0)

    return _beside(stage, section, rounds, wave)


def logins(stage: Stage, rounds: int, seconds: float) -> Section:
    """How many logins a second of CPU is good for."""
    section = Section(
        "logins",
        "Logins, per second of CPU time",
        f"Whole logins (redirect to the provider with PKCE, callback, RS256 ID token, session in "
        f"Redis), 8 at a time, at a provider that costs little; medians of {rounds} rounds of "
        f"{BATCH}. CPU: time of the proxy's processes per login. Every session is used afterwards.",
        columns=("", "logins/s", "CPU us/login", "per CPU second"),
    )
    ours, place = stage.at_fast
    apache = stage.apache
    costs: dict[str, list[float]] = {ours.name: [], apache.name: []}
    rates: dict[str, list[float]] = {ours.name: [], apache.name: []}
    for number in range(rounds + 1):
        for target, where in ((ours, place), (apache, stage.apache_logins)):
            cpu, rate = asyncio.run(_batch(target, where, BATCH if number else 20))
            if number:
                costs[target.name].append(cpu)
                rates[target.name].append(rate)
    for name, found in costs.items():
        cost, rate = median(found), median(rates[name])
        section.rows.append((name, f"{rate:,.0f}", f"{cost:,.0f}", f"{1e6 / cost:,.0f}"))
        section.samples[name] = [{"cpu": one} for one in found]
    per_second = 1e6 / median(costs[ours.name])
    section.findings = [
        Finding.at_least("logins per CPU second", per_second, LOGINS_AIM, "{:,.0f}")
    ]
    return section


async def _batch(target: Target, place: Place, number: int) -> tuple[float, float]:
    """Sign people in; return CPU us per login and logins per second."""
    pids = target.pids()
    loop = asyncio.get_running_loop()
    before, began = cpu_seconds(pids), loop.time()
    cookies = await sign_in(place, number)
    spent, took = cpu_seconds(pids) - before, loop.time() - began
    tokens = set(await bodies(place, "/api/token", cookies))
    if len(cookies) != number or len(tokens) != number:
        raise CannotMeasureError(f"{target.name}: {number} logins gave {len(tokens)} tokens")
    return spent / number * 1e6, number / took


def _beside(stage: Stage, section: Section, rounds: int, wave: Callable[[], Beside]) -> Section:
    """Measure with and without a wave of waiting requests, in turn."""
    target, place = stage.at_fast
    cookies = asyncio.run(sign_in(place, 1))
    target = replace(target, cookies=tuple(cookies))
    sample(stage, target, WARM_UP)
    without, beside = list[Sample](), list[Sample]()
    for _ in range(min(rounds, MAX_ROUNDS)):
        without.append(sample(stage, target, WINDOW))
        beside.append(sample(stage, target, WINDOW, beside=wave()))
    alone, disturbed = middle(without), middle(beside)
    section.add("without", alone, without)
    section.add("beside it", disturbed, beside)
    section.findings = [
        Finding.at_least("requests/s, to without", disturbed.rate / alone.rate, SHARE),
        Finding.at_least("requests per CPU second, to without", alone.cpu / disturbed.cpu, SHARE),
    ]
    return section


def _once(stage: Stage, path: str, cookies: tuple[str, ...]) -> Running:
    url = stage.at_fast[1].origin + path
    return stage.wrk.begin(url, cookies, WINDOW - 1, Shape(WAITING, once=True))
