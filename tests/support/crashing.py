"""The service in one worker that can be told to die at any step, and is begun anew when it did.

A step is a call to Redis or to the provider, or the answer. The plan is a file: on which path, and
before which step (counted from 1), the worker kills itself with SIGKILL; which step that was is
then in the file `died` beside it. A plan that was not carried out stays: the request has no more
steps. The parent holds the port, so that whoever connects meanwhile waits for the next worker.

    python -m tests.support.crashing --port 8080 --plan /tmp/plan --lease 1
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from bff.app import create_app
from bff.oidc.http import ProviderClient
from bff.server import server_options
from bff.sessions import lease
from bff.sessions.redis import Call, Redis, Script

COMMANDS = ("run", "get", "fetch", "take", "put", "swap", "ping")
CALLS = ("get", "ask", "post")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class Steps:
    """Counts the steps of one request, and dies before the one that was chosen."""

    def __init__(self, plan: Path, fatal: int) -> None:
        self._plan = plan
        self._left = fatal

    def step(self, name: str) -> None:
        """Note that a step comes next."""
        self._left -= 1
        if self._left == 0:
            self._plan.with_name("died").write_text(name, encoding="utf-8")
            self._plan.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


STEPS: ContextVar[Steps | None] = ContextVar("steps", default=None)


def name_of(command: str, arguments: tuple[Any, ...]) -> str:
    """Return what a step is called: the name of its script, or the command and the kind of key."""
    if arguments and isinstance(arguments[0], Script):
        for module in [module for name, module in sys.modules.items() if name.startswith("bff.")]:
            for name, value in vars(module).items():
                if value is arguments[0]:
                    return name
    about = str(arguments[0]) if arguments else ""
    return f"{command} {urlsplit(about).path if '://' in about else about.rpartition(':')[2]}"


def watched(owner: type, command: str) -> None:
    """Let a method count as a step."""
    plain = getattr(owner, command)
    assert inspect.iscoroutinefunction(plain)

    @functools.wraps(plain)
    async def step(self: object, *arguments: Any, **options: Any) -> Any:
        steps = STEPS.get()
        if steps is not None:
            steps.step(name_of(command, arguments))
        return await plain(self, *arguments, **options)

    setattr(owner, command, step)


class Mortal:
    """The service, with the plan looked up at every request."""

    def __init__(self, app: Any, plan: Path) -> None:
        self._app = app
        self._plan = plan

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request; its answer is its last step."""
        if scope["type"] != "http" or not self._plan.exists():
            await self._app(scope, receive, send)
            return
        plan = json.loads(self._plan.read_text(encoding="utf-8"))
        if scope["path"] != plan["path"]:
            await self._app(scope, receive, send)
            return
        steps = Steps(self._plan, plan["step"])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                steps.step("answer")
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                steps.step("nothing")

        STEPS.set(steps)
        await self._app(scope, receive, answer)


async def run_all(
    self: Redis, script: Script, calls: Sequence[tuple[Any, Any]], *, lasting: bool = False
) -> list[Any]:
    """Run a script several times, a step each: a server may get a part of what is sent at once."""
    return [await self.run(script, keys, given, lasting=lasting) for keys, given in calls]


async def run_in_order(
    self: Redis, steps: Sequence[Sequence[Call]], *, lasting: bool = False
) -> list[list[Any]]:
    """Run scripts in their order, a step each, for the same reason."""
    return [[await self.run(*call, lasting=lasting) for call in step] for step in steps]


def serve(listening: socket.socket, plan: Path) -> None:
    """Be a worker."""
    for command in COMMANDS:
        watched(Redis, command)
    for together in (run_all, run_in_order):
        setattr(Redis, together.__name__, together)
    for call in CALLS:
        watched(ProviderClient, call)
    app = Mortal(create_app(), plan)
    uvicorn.Server(uvicorn.Config(app, **server_options())).run(sockets=[listening])


def main() -> None:
    """Run one worker after the other, until told to stop."""
    options = argparse.ArgumentParser(prog="python -m tests.support.crashing", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--plan", type=Path, required=True)
    options.add_argument("--lease", type=float, required=True, help="seconds")
    given = options.parse_args()
    lease.SECONDS = given.lease
    listening = socket.create_server(("127.0.0.1", given.port), backlog=100)
    child = 0

    def stop(number: int, _frame: object) -> None:
        os.kill(child, number)

    while True:
        child = os.fork()
        if child == 0:
            serve(listening, given.plan)
            sys.stdout.flush()
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
