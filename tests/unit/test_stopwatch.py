"""A stopwatch that does not count the time in which a busy machine let us wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.support.stopwatch import Stopwatch

SPIN = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while time.process_time() < 0.5: pass
"""


def test_waiting_by_our_own_will_counts() -> None:
    """Who sleeps waits for no processor."""
    watch, began = Stopwatch(), time.monotonic()
    middle = began + 0.5
    time.sleep(1)
    took, passed = watch.seconds(), time.monotonic() - began
    assert watch.seconds(middle) < took <= passed


def test_waiting_for_a_processor_does_not_count() -> None:
    """Processes that share one processor have little more than their own time of it."""
    (processor, *_) = os.sched_getaffinity(0)
    watch, began = Stopwatch(), time.monotonic()
    command = [sys.executable, "-c", SPIN, str(processor)]
    spinning = [subprocess.Popen(command) for _ in range(6)]
    time.sleep(1.5)
    took, passed = watch.seconds(), time.monotonic() - began
    assert {one.wait() for one in spinning} == {0}
    assert took < passed - 0.5
