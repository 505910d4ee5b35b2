"""How long something took us, without the time for which a busy machine let us wait.

What is promised in seconds is promised for a machine that runs us. Tests run side by side, beside
who knows what else: a process that could go on may wait for a processor, and the kernel counts for
how long (Linux: `/proc/PID/schedstat`, its second number). That is taken off, for this process and
all that it started; on an idle machine, and where nothing is counted, it is nought.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


class Stopwatch:
    """Runs from the moment when it is made."""

    def __init__(self) -> None:
        self._waited = _waited()
        self._began = time.monotonic()

    def seconds(self, until: float | None = None) -> float:
        """Return how long it has run, or had run then (by `time.monotonic`), at the least."""
        passed = (time.monotonic() if until is None else until) - self._began
        return passed - max(0.0, _waited() - self._waited)


def _waited() -> float:
    """Return for how many seconds the processes that live have waited for a processor."""
    return sum(_waits_of(pid) for pid in _family(os.getpid()))


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for listing in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                found += map(int, listing.read_text().split())
    return found


def _waits_of(pid: int) -> float:
    nanoseconds = 0
    for numbers in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            nanoseconds += int(numbers.read_text().split()[1])
    return nanoseconds / 1e9
