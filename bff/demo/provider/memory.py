"""What the dev provider knows beyond a restart, where it is given a file for it.

Keys, sessions, and grants with their tokens are written when it stops and read when it starts.
There is no file while it runs: after a crash it would be of yesterday, and a refresh token that was
used since would look stolen.
"""

from __future__ import annotations

import contextlib
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from joserfc.errors import JoseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from starlette.applications import Starlette

    from bff.demo.provider.state import ProviderState


def remembering(
    state: ProviderState, file: Path | None
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Return a lifespan that restores `state` from `file` and keeps it there at the end."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        if file is not None:
            recall(state, file)
        yield
        if file is not None:
            keep(state, file)

    return lifespan


def recall(state: ProviderState, file: Path) -> None:
    """Take what was kept, once. A file that cannot be understood is as good as none."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, JoseError):
        text = file.read_text(encoding="utf-8")
        file.unlink()
        kept = json.loads(text)
        if kept["issuer"] == state.config.issuer:
            state.keys.restore(kept["keys"])
            state.sessions.restore(kept["sessions"])
            state.grants.restore(kept["grants"])


def keep(state: ProviderState, file: Path) -> None:
    """Write what is known, readable by this user alone."""
    known = {
        "issuer": state.config.issuer,
        "keys": state.keys.export(),
        "sessions": state.sessions.export(),
        "grants": state.grants.export(),
    }
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        json.dump(known, sink)
