"""How a task that talks to Redis is ended.

One cancellation is not enough. Before Python 3.12 `asyncio.wait_for`, which redis-py uses to send,
loses a cancellation that comes just when the sending is done; the task then works on for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

TRY_AGAIN_AFTER = 0.1


async def stop(task: asyncio.Task[Any]) -> None:
    """Cancel a task, as often as it takes, and see it end."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=TRY_AGAIN_AFTER)
