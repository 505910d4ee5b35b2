"""Runs `bff` commands in processes of their own without starting python each time.

A helper process imports the program once and forks for every command, which then has the arguments,
the environment and the exit code that a shell would give it and get.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed for programs."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands in a folder with an environment."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.command_line", str(self._folder),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def run(self, *arguments: str, **env: str) -> Ran:
        """Run `bff` with these arguments; `env` comes on top."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": arguments, "env": {**self._env, **env}}
        async with self._turn:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            return Ran(**json.loads(await self._process.stdout.readline()))


def serve(folder: str) -> None:
    """Run what is asked for, one after the other."""
    import bff.doctor
    import bff.operators  # noqa: F401 - so that commands need not
    from bff.__main__ import main

    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith("BFF_")]:
        del os.environ[name]
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.environ.update(request["env"])
                sys.argv = ["bff", *request["arguments"]]
                code = 1
                try:
                    main()
                    code = 0
                except SystemExit as leaving:
                    code = leaving.code if isinstance(leaving.code, int) else 0
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            said: list[str] = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        ran = {"code": os.waitstatus_to_exitcode(status), "out": said[0], "err": said[1]}
        print(json.dumps(ran), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
