"""Structured logs: one event a line, the same form for everybody who writes one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bff import logs


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.LIBRARY_LEVELS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was written, a line an object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_of_json() -> None:
    """Event, level, logger, time in UTC, and what was given."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    structlog.get_logger("bff.test").warning("thing.happened", reason="why", count=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "thing.happened", "reason": "why", "count": 3, "level": "warning",
        "logger": "bff.test",
    }  # fmt: skip


def test_a_request_names_its_lines() -> None:
    """Every line that is written for a request has its id, libraries' lines too."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    token = logs.REQUEST_ID.set("r-1")
    try:
        structlog.get_logger("bff.test").info("thing.happened")
        logging.getLogger("some.library").info("thing")
        structlog.get_logger("bff.test").info("thing.happened", request_id="its own")
    finally:
        logs.REQUEST_ID.reset(token)
    structlog.get_logger("bff.test").info("other")
    found = [line.get("request_id") for line in lines(stream)]
    assert found == ["r-1", "r-1", "its own", None]


def test_libraries_come_out_in_the_same_form() -> None:
    """What goes through `logging` has event, level, logger and time as well."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    logging.getLogger("some.library").error("broke %s", "here")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("broke here", "error", "some.library")
    assert "timestamp" in line


def test_less_than_the_level_is_not_written() -> None:
    """For our events, and for libraries'."""
    for level, expected in (("debug", 3), ("info", 2), ("warning", 1), ("error", 0)):
        stream = io.StringIO()
        logs.configure("json", level, stream)
        log = structlog.get_logger("bff.test")
        log.debug("a")
        log.info("b")
        log.warning("c")
        assert len(lines(stream)) == expected
        logging.getLogger("some.library").debug("d")
        logging.getLogger("some.library").warning("e")
        assert len(lines(stream)) == expected + {"debug": 2, "error": 0}.get(level, 1)


def test_requests_of_libraries_are_not_written() -> None:
    """They name addresses with parameters: codes, tokens, queries."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    logging.getLogger("httpx2").info("HTTP Request: GET https://x/?code=secret")
    logging.getLogger("uvicorn.access").info("GET /bff/callback?code=secret")
    logging.getLogger("uvicorn.access").error("GET /bff/callback?code=secret")
    assert stream.getvalue() == ""


def test_uvicorn_writes_where_we_do() -> None:
    """Its own handlers are gone, so that no line comes in another form."""
    logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    logging.getLogger("uvicorn.error").info("Started")
    assert [line["event"] for line in lines(stream)] == ["Started"]


def test_an_error_brings_its_traceback() -> None:
    """As text in one field of the same line."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    try:
        raise ValueError("oh")
    except ValueError:
        structlog.get_logger("bff.test").exception("thing.crashed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError: oh" in line["exception"]


def test_the_form_follows_the_stream() -> None:
    """For people on a terminal, JSON elsewhere, unless it is chosen."""
    for form, stream, is_json in (
        (None, io.StringIO(), True), (None, Terminal(), False), ("console", io.StringIO(), False),
        ("json", Terminal(), True),
    ):  # fmt: skip
        logs.configure(form, "info", stream)
        structlog.get_logger("bff.test").info("thing.happened", reason="why")
        text = stream.getvalue()
        assert text.startswith("{") is is_json
        assert "thing.happened" in text
        assert ("\x1b[" in text) == (not is_json and stream.isatty())


def test_configuring_again_writes_no_line_twice() -> None:
    """The last configuration counts."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("json", "info", first)
    logs.configure("json", "info", second)
    structlog.get_logger("bff.test").info("thing.happened")
    logging.getLogger("some.library").info("thing")
    assert first.getvalue() == ""
    assert len(lines(second)) == 2


def test_no_value_makes_two_lines_of_one() -> None:
    """A line break that a stranger sent stays inside its line."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    structlog.get_logger("bff.test").info("thing.happened", reason='a\n{"event": "forged"}\r')
    assert len(stream.getvalue().splitlines()) == 1


def test_no_query_of_a_websocket_is_logged() -> None:
    """uvicorn's line for a handshake, which has the whole target, is left out; others are not."""
    stream = io.StringIO()
    for _ in range(2):
        logs.configure("json", "info", stream)
    logger = logging.getLogger("uvicorn.error")
    logger.info('%s - "WebSocket %s" [accepted]', ("127.0.0.1", 1), "/live?ticket=secret")
    logger.info("Started server process [%d]", 1)
    assert [line["event"] for line in lines(stream)] == ["Started server process [1]"]
