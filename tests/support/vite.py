"""Vite for the tests: a small application, built, or served by the dev server as a process."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.processes import Process, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.node import Node


@dataclass(frozen=True, slots=True)
class Application:
    """A copy of the application's sources that a test may change."""

    folder: Path
    node: Node

    @classmethod
    def copy(cls, source: Path, packages: Path, node: Node, folder: Path) -> Application:
        """Copy the sources to a new folder that finds the installed packages."""
        shutil.copytree(source, folder)
        (folder / "node_modules").symlink_to(packages / "node_modules")
        return cls(folder, node)

    def build(self) -> Path:
        """Build it; return the folder of the result."""
        done = subprocess.run(
            self._command("build"), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return self.folder / "dist"

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Run the dev server; give its address."""
        port = free_port()
        output = self.folder / "vite.log"
        with output.open("wb") as sink:
            popen = subprocess.Popen(
                self._command("--port", str(port), "--strictPort"),
                cwd=self.folder, env=self.node.environment, stdin=subprocess.DEVNULL, stdout=sink,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        process = Process(popen, output)
        url = f"http://localhost:{port}"
        try:
            wait_for(f"{url}/index.html", process)
            yield url
        finally:
            process.stop()

    def _command(self, *arguments: str) -> list[str]:
        vite = self.folder / "node_modules" / "vite" / "bin" / "vite.js"
        return [str(self.node.binary), str(vite), *arguments]
