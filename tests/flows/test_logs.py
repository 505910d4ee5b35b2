"""A whole run at debug level: no secret in any log line, none in Redis, and lines of one form."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import quote, quote_plus

import pytest
import pytest_asyncio

from tests.flows.whole_run import NAME, SID, SUB, Run, whole_run
from tests.hostile.rig import CLIENT_ID

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """What one run left."""
    async with whole_run(tmp_path_factory.mktemp("run")) as run:
        yield run


def forms(value: str) -> set[str]:
    """Return a secret as it may be written: as it is, escaped, encoded, and its telling parts."""
    parts = {part for part in value.split(".") if len(part) >= 20}
    return {
        value,
        *parts,
        quote(value),
        quote_plus(value),
        base64.b64encode(value.encode()).decode(),
    }


async def test_no_secret_is_in_any_log_line(run: Run) -> None:
    """Tokens, codes, states, cookies, keys, queries, in any spelling: none of them (rule 1)."""
    text = "\n".join(run.lines)
    assert len(run.lines) > 30
    found = [
        what for what, value in run.secrets.items() if any(form in text for form in forms(value))
    ]
    assert found == []
    assert [word for word in (NAME, SUB, SID, "?key=", "access_token=") if word in text] == []


async def test_every_line_is_json_with_its_members(run: Run) -> None:
    """One object a line, with event, level and timestamp, libraries' lines too."""
    for line in run.lines:
        entry = json.loads(line)
        assert {"event", "level", "timestamp"} <= entry.keys(), line
        assert entry["timestamp"].endswith("Z")
        if str(entry.get("logger", "")).startswith("bff."):
            assert entry["event"].replace("_", "").replace(".", "").isalnum(), line
        assert "exception" not in entry, line


async def test_lines_of_a_request_carry_its_id(run: Run) -> None:
    """What the browser is told is what the log has, so that one finds the other."""
    entries = [json.loads(line) for line in run.lines]
    refused = {
        entry["request_id"]: entry for entry in entries if entry["event"] == "request.refused"
    }
    problems = [answer for answer in run.answers if answer.status_code >= 400]
    assert len(problems) >= 8
    for answer in problems:
        told = answer.json()
        assert told["request_id"] == answer.headers["x-request-id"]
        entry = refused[told["request_id"]]
        assert (entry["code"], entry["status"]) == (told["code"], answer.status_code)
    for entry in entries:
        if entry["event"].startswith(("login.", "logout.backchannel", "request.")):
            assert "request_id" in entry, entry


async def test_the_log_tells_the_story(run: Run) -> None:
    """Stable events for what operators look for."""
    events = {json.loads(line)["event"] for line in run.lines}
    assert {
        "service.started", "provider.discovered", "login.started", "login.completed",
        "login.failed", "session.refreshed", "session.ended", "token.revoked",
        "logout.backchannel_refused", "logout.by_provider", "request.refused",
    } <= events  # fmt: skip


async def test_redis_holds_nothing_in_clear(run: Run) -> None:
    """Neither secrets nor who signed in: names are hashes, values sealed (rules 1 and 7)."""
    everything = b"\n".join(run.stored)
    assert len(run.stored) > 12
    found = [
        what
        for what, value in {
            **run.secrets,
            "sub": SUB,
            "sid": SID,
            "name": NAME,
            "client": CLIENT_ID,
        }.items()
        if any(form.encode() in everything for form in forms(value))
    ]
    assert found == []
