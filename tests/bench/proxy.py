"""What a request through the service costs, beside a bare nginx and mod_auth_openidc.

Run by hand, `python -m tests.bench.proxy`; it starts all it needs on loopback, signs in for real,
and ends what it started, also on Ctrl-C. What is measured has one core to itself, everything else
shares the others. CPU time per request is steadier than rates when a machine is busy. An aim that
is not reached is said and is no failure; an answer that is not what it should be is one.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from tests.bench import report, strain, throughput
from tests.bench.machine import (
    BINARIES,
    CannotMeasureError,
    facts,
    load_average,
    missing,
    processor_time,
)
from tests.bench.report import Section
from tests.bench.stage import Stage

Mode = Callable[[Stage, int, float], Section]

MODES: dict[str, Mode] = {
    "hot": throughput.hot,
    "many": throughput.many,
    "half": throughput.half,
    "workers": throughput.workers,
    "storm": strain.storm,
    "slow": strain.slow,
    "logins": strain.logins,
    "memory": throughput.million,
}
USUAL = tuple(name for name in MODES if name != "memory")
WITH_APACHE = frozenset({"hot", "logins"})
NOT_MEASURED = 1
MISSING = 2


def measure(names: list[str], rounds: int, seconds: float, *, quiet: bool) -> list[Section]:
    """Take the figures of some modes, and print each as soon as it is there unless `quiet`."""
    sections: list[Section] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)  # nginx and Apache give their rights up
        stage = Stage(stack, folder)
        for name in names:
            print(f"\nmeasuring: {name}", file=sys.stderr, flush=True)
            used_before, stolen_before = processor_time()
            try:
                section = MODES[name](stage, rounds, seconds)
            except CannotMeasureError as error:
                said = stage.complaints() or "no complaint"
                print(f"not measured: {error}\nthe service logged: {said}", file=sys.stderr)
                continue
            section.load_average = load_average()
            used, stolen = processor_time()
            used, stolen = used - used_before, stolen - stolen_before
            section.stolen = stolen / max(1, used + stolen)
            sections.append(section)
            if not quiet:
                print(f"\n{section.text()}", flush=True)
    return sections


def options() -> argparse.ArgumentParser:
    """Describe the command line."""
    found = argparse.ArgumentParser(
        prog="python -m tests.bench.proxy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(USUAL),
        metavar="MODE,...",
        help=f"of {', '.join(MODES)}; all but memory, which takes minutes, unless given",
    )
    found.add_argument("--rounds", type=int, default=5, help="of each measurement (5)")
    found.add_argument("--seconds", type=float, default=4, help="whole seconds of a round (4)")
    found.add_argument("--json", action="store_true", help="print JSON when all is done")
    return found


def main() -> int:
    """Measure and print."""
    parser = options()
    given = parser.parse_args()
    if unknown := set(given.only) - set(MODES):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    if given.rounds < 1 or given.seconds < 1:
        parser.error("at least one round of one second is needed")
    needed = [
        name
        for name in BINARIES
        if WITH_APACHE & set(given.only) or name not in {"apache2", "libapache2-mod-auth-openidc"}
    ]
    if lacking := missing(needed):
        print(lacking, file=sys.stderr)
        return MISSING
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    machine, began = facts(), time.monotonic()
    if not given.json:
        print(report.machine(machine), flush=True)
    try:
        sections = measure(given.only, given.rounds, given.seconds, quiet=given.json)
    except CannotMeasureError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return NOT_MEASURED
    except KeyboardInterrupt:
        print("\nstopped; everything that was started has ended", file=sys.stderr)
        return 128 + signal.SIGINT
    if given.json:
        found = {"machine": machine, "modes": [section.record() for section in sections]}
        print(json.dumps(found, indent=2))
    else:
        print(f"\n{time.monotonic() - began:.0f} s in all.")
    return 0 if len(sections) == len(given.only) else NOT_MEASURED


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Unwind, so that every process is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
