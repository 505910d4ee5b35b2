"""Two operations on Redis, stepped through every order of their commands.

Each operation works through a `Gate`: a command waits there until the schedule lets it go. When no
operation can go on by itself, the schedule picks the next one; `every_order` tries every schedule.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bff.sessions.redis import Call, Redis

COMMANDS = frozenset({"run", "run_all", "run_in_order", "get", "fetch", "take", "put", "swap"})


class Gate:
    """Stands for a Redis; every command waits for its turn."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.waiting: deque[asyncio.Future[None]] = deque()

    def __getattr__(self, name: str) -> Any:
        command = getattr(self._redis, name)
        if name not in COMMANDS:
            return command

        async def in_turn(*arguments: Any, **options: Any) -> Any:
            if name == "run_all":
                # What is sent together is not carried out as a whole: a step each.
                script, calls = arguments
                found: list[Any] = []
                for one in calls:
                    await self._turn()
                    found += await command(script, [one], **options)
                return found
            if name == "run_in_order":
                return [[await self._one(call, options) for call in step] for step in arguments[0]]
            await self._turn()
            return await command(*arguments, **options)

        return in_turn

    async def _one(self, call: Call, options: dict[str, Any]) -> Any:
        await self._turn()
        return await self._redis.run(*call, **options)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn


Operation = Callable[[Redis], Awaitable[Any]]


@dataclass
class Outcome:
    """What became of the operations: their results or errors, and the order of their commands."""

    results: list[Any]
    order: list[int] = field(default_factory=list)


async def every_order(
    redis: Redis,
    prepare: Callable[[], Awaitable[None]],
    operations: Sequence[Operation],
) -> AsyncIterator[Outcome]:
    """Run the operations in every order of their commands, from the same beginning each time."""
    choices: list[int] = []
    while True:
        await prepare()
        outcome, options = await _run(redis, operations, choices)
        yield outcome
        taken = [*choices, *[0] * (len(options) - len(choices))]
        while taken and taken[-1] + 1 >= options[len(taken) - 1]:
            taken.pop()
        if not taken:
            return
        choices = [*taken[:-1], taken[-1] + 1]


async def _run(
    redis: Redis, operations: Sequence[Operation], choices: Sequence[int]
) -> tuple[Outcome, list[int]]:
    gates = [Gate(redis) for _ in operations]
    tasks = [
        asyncio.ensure_future(operation(gate))  # type: ignore[arg-type]  # a stand-in
        for operation, gate in zip(operations, gates, strict=True)
    ]
    outcome, options = Outcome([]), list[int]()
    while True:
        await _settle(tasks, gates)
        ready = [number for number, gate in enumerate(gates) if gate.waiting]
        if not ready:
            break
        choice = choices[len(options)] if len(options) < len(choices) else 0
        options.append(len(ready))
        outcome.order.append(ready[choice])
        gates[ready[choice]].waiting.popleft().set_result(None)
    outcome.results = await asyncio.gather(*tasks, return_exceptions=True)
    return outcome, options


async def _settle(tasks: Sequence[asyncio.Future[Any]], gates: Sequence[Gate]) -> None:
    """Wait until every operation is done or waits at its gate."""
    while not all(task.done() or gate.waiting for task, gate in zip(tasks, gates, strict=True)):
        await asyncio.sleep(0)
