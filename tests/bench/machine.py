"""What a benchmark knows of its machine: cores, CPU time and memory of processes, and the facts.

Rules: what is measured has one core to itself, everything else shares the others. CPU time and
memory are read from /proc (Linux), for a process and all that descend from it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
BINARIES = {
    "nginx": "/usr/sbin/nginx",
    "wrk": "/usr/bin/wrk",
    "apache2": "/usr/sbin/apache2",
    "libapache2-mod-auth-openidc": "/usr/lib/apache2/modules/mod_auth_openidc.so",
    "redis-server": "/usr/bin/redis-server",
}


class CannotMeasureError(Exception):
    """This machine, or an answer that came, makes figures worthless; the text says why."""


@dataclass(frozen=True)
class Cores:
    """Which cores are for what is measured, and which for the rest."""

    service: frozenset[int]
    load: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        """One core of the load's beside that of the service: two in all."""
        return self.service | {min(self.load)}


def cores() -> Cores:
    """Divide the cores that we may use. Raises CannotMeasureError when there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise CannotMeasureError("two cores are needed: one for what is measured, one for the load")
    return Cores(frozenset({first}), frozenset(others))


@contextlib.contextmanager
def pinned(to: frozenset[int]) -> Iterator[None]:
    """Let what is started inside run on these cores only (as `taskset` would)."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pids: Iterable[int], to: frozenset[int]) -> None:
    """Let running processes go on on these cores, with all their threads."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), to)


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time, user and system, that processes have taken so far."""
    ticks = 0
    for pid in pids:
        # The name, in brackets, may hold anything; what follows the last bracket is numbers.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def memory(pids: Iterable[int]) -> float:
    """Return the resident memory of processes together, in MB of 10^6 bytes."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                kib += int(line.split()[1])
    return kib * 1024 / 1e6


def missing(packages: Iterable[str]) -> str | None:
    """Say in one line which Debian packages are not here; None if all are."""
    absent = [
        name
        for name in packages
        if not (Path(BINARIES[name]).exists() or shutil.which(Path(BINARIES[name]).name))
    ]
    return f"missing; get them with: apt-get install {' '.join(absent)}" if absent else None


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def processor_time() -> tuple[int, int]:
    """Return, since boot and in ticks of all cores, what was used and what the host took away.

    The latter (`steal`) is time in which something had to run and the host ran others: whoever
    waits for an answer meanwhile sees it as a slow one.
    """
    line = Path("/proc/stat").read_text().partition("\n")[0]
    user, nice, system, _, _, interrupts, soft, stolen = map(int, line.split()[1:9])
    return user + nice + system + interrupts + soft, stolen


def facts() -> dict[str, str]:
    """Return what a reader of the figures needs to know of this machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"Linux {platform.release()}",
        "python": platform.python_version(),
        "nginx": _first_line("nginx", "-v").rpartition("/")[2],
        "apache": _first_line("apache2", "-v").partition("/")[2].partition(" ")[0],
        "mod_auth_openidc": _package_version("libapache2-mod-auth-openidc"),
        "redis": _first_line("redis-server", "--version").partition("v=")[2].partition(" ")[0],
        "wrk": _first_line("wrk", "-v").partition("[")[0].removeprefix("wrk debian/").strip(),
    }


def _first_line(name: str, option: str) -> str:
    path = shutil.which(name) or BINARIES[name]
    if not Path(path).exists():
        return ""
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).partition("\n")[0]


def _package_version(name: str) -> str:
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return ""
    done = subprocess.run(
        [dpkg, "-W", "-f=${Version}", name], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
