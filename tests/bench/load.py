"""Load by wrk, and its word on what came back.

wrk gets a small Lua script that sets what a page's `fetch` sends, chooses the cookie, and prints
the result as one line. Three kinds: as fast as it goes; paced, every connection thinking for a
random time between requests; and once, every connection asking a single time.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench.machine import BINARIES, CannotMeasureError, pinned
from tests.support.user_agent import CHROME

MARK = "result:"
NUMBERS = count(1)
PATIENCE = 40.0

HEADERS = {
    "User-Agent": CHROME,
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}

SCRIPT = """\
local fields = { %(fields)s }
for name, value in pairs(fields) do wrk.headers[name] = value end
%(body)s
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("%(mark)s %%d %%d %%d %%d %%d %%d %%d %%d\\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
"""
ONE_COOKIE = 'wrk.headers["Cookie"] = %s\n'
MANY_COOKIES = """\
local requests, turn = {}, 0
function init(args)
  math.randomseed(%(seed)d)
  for cookie in io.lines(%(path)s) do
    wrk.headers["Cookie"] = cookie
    requests[#requests + 1] = wrk.format("GET")
  end
end
function request()
  %(choice)s
  return requests[turn]
end
"""
AT_RANDOM = "turn = math.random(#requests)"
IN_TURN = "turn = turn % #requests + 1"
PACED = "function delay() return math.random(0, %d) end\n"
ONCE = """\
local begun = 0
function delay()
  begun = begun + 1
  return begun > %d and 3600000 or 0
end
"""


@dataclass(frozen=True)
class Outcome:
    """What wrk saw; times of an answer in ms."""

    requests: int
    seconds: float
    size: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Shape:
    """How requests come. `think`: mean pause of a connection in ms; `once`: each asks one time."""

    connections: int = 32
    think: float = 0.0
    once: bool = False


class Running:
    """A wrk at work."""

    def __init__(self, popen: subprocess.Popen[str], seconds: float) -> None:
        self._popen = popen
        self._seconds = seconds

    def outcome(self) -> Outcome:
        """Wait for its end. Raises CannotMeasureError for anything but good answers."""
        try:
            text, _ = self._popen.communicate(timeout=self._seconds + PATIENCE)
        finally:
            self.stop()
        lines = [line for line in text.splitlines() if line.startswith(MARK)]
        if self._popen.returncode or not lines:
            raise CannotMeasureError(f"wrk failed:\n{text}")
        requests, micros, size, p50, p99, status, broken, late = map(int, lines[0].split()[1:])
        if status or broken or late or not requests:
            raise CannotMeasureError(
                f"of {requests:,} answers {status:,} were errors; {broken:,} connections broke, "
                f"and {late:,} requests were not answered in time"
            )
        return Outcome(requests, micros / 1e6, size / requests, p50 / 1e3, p99 / 1e3)

    def stop(self) -> None:
        """End it, however it is."""
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.communicate()


class Wrk:
    """Starts wrk on the cores of the load; its scripts go into a folder."""

    def __init__(self, folder: Path, on: frozenset[int]) -> None:
        self._folder = folder
        self.on = on

    def begin(
        self,
        url: str,
        cookies: Sequence[str],
        seconds: float,
        shape: Shape,
        authorization: str = "",
    ) -> Running:
        """Begin to ask for a URL; a cookie of several is chosen at random, or in turn if `once`."""
        number = next(NUMBERS)
        fields = {**HEADERS, **({"Authorization": authorization} if authorization else {})}
        body = self._cookies(cookies, number, in_turn=shape.once)
        if shape.think:
            body += PACED % round(2 * shape.think)
        if shape.once:
            body += ONCE % shape.connections
        script = self._folder / f"load-{number}.lua"
        script.write_text(
            SCRIPT
            % {
                "mark": MARK,
                "body": body,
                "fields": ", ".join(f"[{_lua(n)}] = {_lua(v)}" for n, v in fields.items()),
            }
        )
        command = [
            shutil.which("wrk") or BINARIES["wrk"], "--threads", "1", "--latency",
            "--connections", str(shape.connections), "--duration", f"{round(seconds)}s",
            "--timeout", "30s", "--script", str(script), url,
        ]  # fmt: skip
        with pinned(self.on):
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return Running(popen, seconds)

    def _cookies(self, cookies: Sequence[str], number: int, *, in_turn: bool) -> str:
        if not cookies:
            return ""
        if len(cookies) == 1:
            return ONE_COOKIE % _lua(cookies[0])
        path = self._folder / f"cookies-{number}"
        path.write_text("\n".join(cookies) + "\n")
        choice = IN_TURN if in_turn else AT_RANDOM
        return MANY_COOKIES % {"seed": number, "path": _lua(str(path)), "choice": choice}


def _lua(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
