"""What the doctor makes of what it sees."""

from __future__ import annotations

import json
import ssl
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.doctor.findings import Finding, Grade, as_json, in_area, ready, show
from bff.doctor.provider import clock_finding, dpop_finding, names_in, unusable
from bff.doctor.redis import judge_redis
from bff.doctor.tls import examine_tls, judge_tls
from bff.doctor.trial import judge_push, judge_redemption
from tests.support.certificates import loopback_certificate
from tests.support.processes import free_port

NOW = 1_800_000_000.0
FACTS = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1}


@pytest.mark.parametrize(
    ("status", "error", "grade", "words"),
    [
        (201, None, Grade.GOOD, "is accepted, and so are redirect URI and scopes"),
        (400, "invalid_redirect_uri", Grade.FAULT, "redirect URI are not"),
        (400, "invalid_scope", Grade.FAULT, "scopes are not"),
        (401, "invalid_client", Grade.FAULT, "is refused (invalid_client)"),
        (400, "unauthorized_client", Grade.FAULT, "is refused"),
        (401, None, Grade.FAULT, "is refused (401)"),
        (400, "invalid_request", Grade.WARNING, "neither yes nor no"),
        (503, None, Grade.WARNING, "neither yes nor no (503)"),
    ],
)
def test_a_pushed_request_tells(status: int, error: str | None, grade: Grade, words: str) -> None:
    """PAR authenticates us and judges the request."""
    finding = judge_push("private_key_jwt", status, error)
    assert (finding.grade, words in finding.text) == (grade, True), finding
    assert finding.text.startswith("private_key_jwt")


@pytest.mark.parametrize(
    ("status", "error", "grade"),
    [
        (400, "invalid_grant", Grade.GOOD),
        (401, "invalid_client", Grade.FAULT),
        (401, None, Grade.FAULT),
        (400, "invalid_request", Grade.WARNING),
        (200, None, Grade.WARNING),
    ],
)
def test_a_code_that_nobody_issued_tells(status: int, error: str | None, grade: Grade) -> None:
    """Only who is believed hears that the code is not."""
    assert judge_redemption("client_secret_basic", status, error).grade is grade


@pytest.mark.parametrize(
    ("changes", "grades"),
    [
        ({}, [Grade.GOOD] * 3),
        ({"redis_version": "6.0.16"}, [Grade.FAULT]),
        ({"redis_version": "6.2.0"}, [Grade.GOOD] * 3),
        ({"redis_version": "10.0.1"}, [Grade.GOOD] * 3),
        ({"redis_version": "strange"}, [Grade.GOOD] * 3),
        ({"maxmemory_policy": "allkeys-lru"}, [Grade.GOOD, Grade.WARNING, Grade.GOOD]),
        ({"aof_enabled": 0}, [Grade.GOOD, Grade.GOOD, Grade.NOTE]),
    ],
)
def test_redis_is_judged_by_what_it_says(changes: dict[str, Any], grades: list[Grade]) -> None:
    """Too old is a fault; what may lose sessions is told."""
    assert [one.grade for one in judge_redis({**FACTS, **changes}, embedded=False)] == grades


@pytest.mark.parametrize(
    ("wanted", "listed", "grade", "words"),
    [
        (False, None, Grade.NOTE, "not offered"),
        (False, ["PS256"], Grade.NOTE, "not offered"),
        (False, ["PS256", "ES256"], Grade.NOTE, "offered, and not used"),
        (True, ["PS256", "ES256"], Grade.GOOD, "will be used, with ES256"),
        (True, ["PS256"], Grade.FAULT, "no proofs by ES256"),
        (True, "ES256", Grade.FAULT, "no proofs by ES256"),
        (True, None, Grade.WARNING, "not listed"),
    ],
)
def test_bound_tokens_need_a_provider_that_knows_them(
    *, wanted: bool, listed: object, grade: Grade, words: str
) -> None:
    """A list without our algorithm is a fault, none is a risk; unused it is only mentioned."""
    finding = dpop_finding({"dpop_signing_alg_values_supported": listed}, wanted=wanted)
    assert (finding.grade, words in finding.text) == (grade, True), finding


def test_an_embedded_redis_is_for_development() -> None:
    """One finding, that is neither praise nor fault."""
    (finding,) = judge_redis({**FACTS, "aof_enabled": 0}, embedded=True)
    assert finding.grade is Grade.NOTE
    assert "BFF_REDIS_URL" in finding.advice


@pytest.mark.parametrize(
    ("off", "grade", "words"),
    [
        (0, Grade.GOOD, "agrees"),
        (5, Grade.GOOD, "agrees"),
        (-60, Grade.WARNING, "60 s behind"),
        (60, Grade.WARNING, "60 s ahead of"),
    ],
)
def test_clocks_are_compared(off: int, grade: Grade, words: str) -> None:
    """The difference has a direction."""
    finding = clock_finding(formatdate(NOW, usegmt=True), NOW + off)
    assert (finding.grade, words in finding.text) == (grade, True), finding


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_provider_may_not_tell_its_time(date: str | None) -> None:
    """That is no fault."""
    assert clock_finding(date, NOW).grade is Grade.NOTE


def test_a_wrong_issuer_is_answered_with_the_right_one() -> None:
    """What the document names is shown, cut short, so that it can be copied."""
    finding = unusable("issuer_mismatch", {"issuer": "https://id.example/" + "x" * 500})
    assert "'https://id.example/" in finding.advice
    assert len(finding.advice) < 300
    assert "mended" in unusable("bad_jwks_uri", {}).advice


@given(st.dictionaries(st.text(), st.lists(st.integers() | st.text()) | st.integers()))
def test_members_of_any_kind_are_read(document: dict[str, Any]) -> None:
    """What is no list of strings has none."""
    for member in document:
        assert all(isinstance(name, str) for name in names_in(document, member))


def test_a_certificate_has_its_days() -> None:
    """Fewer than two weeks are a warning, and so is one that has ended."""
    end = "Jan 15 08:00:00 2027 GMT"
    at = ssl.cert_time_to_seconds(end)
    assert judge_tls("TLSv1.3", end, at - 90 * 86_400).grade is Grade.GOOD
    assert judge_tls("TLSv1.3", end, at - 3 * 86_400).grade is Grade.WARNING
    assert "TLSv1.3" in judge_tls("TLSv1.3", end, at).text


async def test_a_handshake_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that is not known is a fault; named in SSL_CERT_FILE it is good."""
    import asyncio

    authority, certificate, key = loopback_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        refused = await examine_tls(url)
        assert (refused.grade, "SSL_CERT_FILE" in refused.advice) == (Grade.FAULT, True)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert "TLSv1.3" in (await examine_tls(url)).text
    assert (await examine_tls(f"https://127.0.0.1:{free_port()}/")).grade is Grade.FAULT
    assert (await examine_tls("http://127.0.0.1/")).grade is Grade.NOTE


def test_findings_are_shown_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Areas, advice under what it is about, and the verdict; the same as JSON."""
    findings = in_area("redis", [Finding(Grade.GOOD, "server", "answers")])
    show(findings)
    assert "A login can work." in capsys.readouterr().out
    findings += in_area("provider x", [Finding(Grade.FAULT, "keys", "none", "make some")])
    show(findings)
    shown = capsys.readouterr().out
    assert shown.index("redis") < shown.index("provider x") < shown.index("→ make some")
    assert "A login cannot work yet." in shown
    assert not ready(findings)
    told = json.loads(as_json(findings))
    assert told["ready"] is False
    assert told["findings"][1] == {
        "grade": "fault", "subject": "keys", "text": "none", "advice": "make some",
        "area": "provider x",
    }  # fmt: skip
