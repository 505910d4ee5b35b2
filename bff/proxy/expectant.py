"""A request on its way to an upstream, and who waits for its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bff.proxy.response import UpstreamResponse
from bff.proxy.wire import IDEMPOTENT


@dataclass(slots=True)
class Exchange:
    """A request on its way: `head` holds a short body too, `body` is one that is streamed.

    `length` is the body's announced length, None for chunked. Times are seconds of the loop's
    clock; `timeout` bounds the wait for the head of the answer, `silence` that between bytes.
    `gone` returns when the one who asked has left. `takes` is offered what comes first of the
    answer: if that is all of it, and was taken, the exchange is over. `answered` and `body_begun`
    tell that a byte of the answer came, and that the streamed body was begun.
    """

    method: bytes
    head: bytes
    body: AsyncIterator[bytes] | None
    length: int | None
    started: float
    timeout: float
    silence: float
    gone: Callable[[], Awaitable[None]] | None
    takes: Callable[[bytes], bool] | None = None
    answered: bool = False
    body_begun: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again if its connection was stale (RFC 9110 section 9.2.2)."""
        return not (self.answered or self.body_begun) and self.method in IDEMPOTENT


class Expectant(Protocol):
    """Who waits for the head of an answer: a future, or whoever wants no turn of the loop.

    It is told after everything else that came with the head, so that a short answer is complete.
    """

    def done(self) -> bool:
        """Whether it has been told, or waits no longer."""
        ...

    def set_result(self, result: UpstreamResponse, /) -> None:
        """The head is here."""

    def set_exception(self, exception: Exception, /) -> None:
        """There is none, and will be none."""
