"""Structured logs: one event a line, with a stable name, a reason code and the request id.

Nothing that a stranger sent is formatted into a message, and no token, code, cookie or query is
ever passed to a logger. What libraries log through `logging` comes out in the same form; our own
events are written directly, since its records and handlers cost as much again as the line.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

LIBRARY_LEVELS = {"httpx2": "WARNING", "httpcore2": "WARNING", "uvicorn.access": "CRITICAL"}


REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure(form: str | None, level: str, stream: TextIO = sys.stderr) -> None:
    """Set up logging for this process. `form` None: `console` on a terminal, else `json`."""
    if form is None:
        form = "console" if stream.isatty() else "json"
    shared: list[Processor] = [
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(serializer=_json)
        processors: list[Processor] = [_as_json]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors = [*shared, renderer]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(_Lines, stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(least)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_no_access_line)


class _Lines:
    """What structlog writes to: a name, and a stream that takes whole lines."""

    def __init__(self, stream: TextIO, name: str = "bff") -> None:
        self.name = name
        self._stream = stream

    def write(self, line: str) -> None:
        """Write a line. That it cannot be written must not fail what it tells of."""
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = write


def _as_json(logger: Any, method: str, event: EventDict) -> str:
    """Return an event of ours as its line: what `shared` and the renderer make of it, at once."""
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    event["level"] = "error" if method == "exception" else method
    event["logger"] = logger.name
    event["timestamp"] = datetime.now(UTC).isoformat().removesuffix("+00:00") + "Z"
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return _ENCODER.encode(event)


def _json(event: EventDict, default: Callable[[object], object]) -> str:
    del default
    return _ENCODER.encode(event)


_ENCODER = json.JSONEncoder(default=repr)


def _is_no_access_line(record: logging.LogRecord) -> bool:
    """Whether a line may pass: uvicorn's own WebSockets log each query, not as `uvicorn.access`."""
    return '"WebSocket %s"' not in str(record.msg)


def _with_request_id(_logger: object, _method: str, event: EventDict) -> EventDict:
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event
