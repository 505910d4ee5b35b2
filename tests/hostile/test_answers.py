"""Answers of the provider that are huge, compressed, cut, redirected, slow or no answers at all.

Each is bounded and refused: 503 where the provider is not well, nobody signed in, no other host
asked, no cookie kept, and a later good answer works.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.hostile.rig import Outcome, Rig, open_rig
from tests.support import jose
from tests.support.scripted_provider import DISCOVERY, Answer, Asked, ScriptedProvider
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

BIG = b'{"padding": "' + b"a" * 2_000_000 + b'"}'
ELSEWHERE = (("Location", "http://127.0.0.1:1/elsewhere"),)
BROKEN: dict[str, tuple[Answer, str]] = {
    "huge": (Answer(body=BIG), "TooLargeError"),
    "compressed": (
        Answer(body=gzip.compress(BIG), headers=(("Content-Encoding", "gzip"),)),
        "TooLargeError",
    ),
    "cut": (Answer(body={"issuer": "x"}, cut=4), "RemoteProtocolError"),
    "a huge head": (Answer(body={}, headers=(("X-Big", "a" * 300_000),)), "RemoteProtocolError"),
}
NO_DOCUMENT: dict[str, tuple[Answer, str]] = {
    "redirecting": (Answer(302, {}, headers=ELSEWHERE), "status_302"),
    "not JSON": (Answer(body=b"<html>", content_type="text/html"), "not_json"),
}

DOCUMENTS: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "oidcc-client-test-discovery-issuer-mismatch": (
        lambda issuer: {"issuer": f"{issuer}INVALID"},
        "issuer_mismatch",
    ),
    "T9 issuer without its slash": (
        lambda issuer: {"issuer": issuer.removesuffix("/")},
        "issuer_mismatch",
    ),
    "a script for endpoint": (
        lambda _: {"authorization_endpoint": "javascript:alert(1)"},
        "bad_authorization_endpoint",
    ),
    "a relative endpoint": (lambda _: {"token_endpoint": "/token"}, "bad_token_endpoint"),
    "an endpoint that breaks lines": (
        lambda _: {"jwks_uri": "http://127.0.0.1/\r\nX: 1"},
        "bad_jwks_uri",
    ),
}


def document(name: str, provider: ScriptedProvider) -> tuple[Answer, str]:
    """Return an answer to discovery that must not be used, and the reason that is logged."""
    if name in DOCUMENTS:
        change, reason = DOCUMENTS[name]
        return Answer(body={**provider.document(), **change(provider.issuer)}), reason
    return {**BROKEN, **NO_DOCUMENT}[name]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def undiscovered(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A service that could never discover its provider."""

    def away(provider: ScriptedProvider) -> None:
        provider.answers[DISCOVERY] = Answer(503, {})

    folder = tmp_path_factory.mktemp("undiscovered")
    async with open_rig(folder, prepare=away, wait="healthz") as rig:
        yield rig


async def refused_login(rig: Rig) -> str:
    """Ask for a login until an attempt of its own is made; return the logged reason."""
    async with UserAgent(rig.service.base_url) as browser:
        while True:
            page = await browser.navigate("/bff/login", follow=False)
            assert (page.status, "location" in page.headers) == (503, False)
            assert "provider_unavailable" in page.text
            rid = page.headers["x-request-id"]
            found = [line for line in rig.service.log if line.get("request_id") == rid]
            reason = str(found[-1]["reason"])
            if reason != "discovery_failed":
                return reason
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", ["huge", "compressed", "redirecting", "not JSON", *DOCUMENTS])
async def test_a_bad_discovery_document_begins_no_login(undiscovered: Rig, name: str) -> None:
    """503 for the login, not ready, and no authorization request leaves."""
    rig = undiscovered
    answer, reason = document(name, rig.provider)
    rig.provider.answers[DISCOVERY] = answer
    seen = await refused_login(rig)
    if seen != reason:  # an attempt that was under way had asked for the one before
        seen = await refused_login(rig)
    assert seen == reason
    async with UserAgent(rig.service.base_url) as browser:
        assert (await browser.fetch("/bff/readyz")).status_code == 503
    assert {asked.target for asked in rig.provider.asked} == {DISCOVERY}


async def test_a_provider_that_comes_to_its_senses_is_used(undiscovered: Rig) -> None:
    """Then keys are the next thing that may be bad: the login fails, and works when they are good.

    oidcc-client-test-discovery-openid-config and -jwks-uri-keys: everything is asked for in order.
    """
    rig = undiscovered
    rig.provider.answers["/jwks"] = Answer(500, {})
    rig.provider.answers.pop(DISCOVERY)
    await asyncio.sleep(1.1)
    for kind in ("huge", "redirecting"):
        answer, _ = {**BROKEN, **NO_DOCUMENT}[kind]
        rig.provider.answers["/jwks"] = answer
        await asyncio.sleep(1.1)  # one attempt a second
        outcome = await rig.login()
        assert (outcome.page.status, outcome.signed_in) == (503, False), kind
        assert "/userinfo" not in outcome.asked
    rig.provider.answers["/jwks"] = Answer(body={"keys": "none"})
    await asyncio.sleep(1.1)
    assert (await rig.login()).reasons == ["keys_not_a_jwk_set"]
    rig.provider.answers.pop("/jwks")
    await asyncio.sleep(1.1)
    outcome = await rig.login()
    assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/jwks", "/userinfo"])


TOKEN_ENDPOINT = {
    **{name: (answer, 503, reason) for name, (answer, reason) in BROKEN.items()},
    "redirecting": (Answer(302, {}, headers=ELSEWHERE), 503, "token_endpoint_302"),
    "an error": (Answer(500, {"error": "x"}), 503, "token_endpoint_500"),
    "busy": (Answer(429, {}), 503, "token_endpoint_429"),
    "not JSON": (Answer(body=b"access_token=a"), 503, "token_endpoint_not_json"),
    "endless nesting": (Answer(body=b"[" * 100_000), 503, "token_endpoint_not_json"),
    "no content": (Answer(204, b""), 503, "token_endpoint_not_json"),
    "invalid_grant": (Answer(400, {"error": "invalid_grant"}), 400, "token_endpoint_invalid_grant"),
    "invalid_client": (
        Answer(401, {"error": "invalid_client"}),
        400,
        "token_endpoint_invalid_client",
    ),
    "an unheard-of error": (
        Answer(400, {"error": "\x1b[31m<script>"}),
        400,
        "token_endpoint_other_error",
    ),
    "an error that is no string": (
        Answer(400, {"error": ["a"]}),
        400,
        "token_endpoint_other_error",
    ),
}


@pytest.mark.parametrize(
    ("answer", "status", "reason"), TOKEN_ENDPOINT.values(), ids=TOKEN_ENDPOINT.keys()
)
async def test_a_bad_token_answer_makes_no_session(
    rig: Rig, answer: Answer, status: int, reason: str
) -> None:
    """400 or 503 with the reason in the log; nothing that the provider said is shown."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        rig.plans[begun.code] = answer
        outcome = await rig.finish(browser, begun)
        assert (outcome.page.status, outcome.reasons) == (status, [reason])
        assert (outcome.signed_in, outcome.asked) == (False, ["/token"])
        assert "script" not in outcome.page.text
        if status == 503:
            assert "retry-after" in outcome.page.headers


async def test_cookies_and_redirects_of_the_provider_go_nowhere(rig: Rig) -> None:
    """What the provider sets for one user is never sent back, least of all for another."""
    cookie = (("Set-Cookie", "provider=alice; Path=/"),)
    good = rig.provider.answers["/userinfo"]
    rig.provider.answers["/userinfo"] = Answer(body={"sub": "alice"}, headers=cookie)
    try:
        for _ in range(2):
            assert (await rig.login()).signed_in
        rig.provider.answers["/userinfo"] = Answer(307, {}, headers=ELSEWHERE)
        outcome = await rig.login()
        assert (outcome.reasons, outcome.signed_in) == (["userinfo_307"], False)
    finally:
        rig.provider.answers["/userinfo"] = good
    assert all("cookie" not in asked.headers for asked in rig.provider.asked)


async def test_a_slow_provider_holds_nobody_for_long(rig: Rig, tmp_path: Path) -> None:
    """Silence, drops of bytes, and many who wait at once: all are answered within seconds."""

    async def silent(asked: Asked) -> Answer:
        del asked
        await asyncio.sleep(60)
        return Answer()

    async def slow_login(plan: str) -> Outcome:
        async with UserAgent(rig.service.base_url, timeout=30) as browser:
            begun = await rig.begin(browser)
            body = json.dumps({"access_token": "a" * 5000}).encode()
            rig.plans[begun.code] = silent if plan == "silent" else Answer(body=body, drip=0.05)
            return await rig.finish(browser, begun)

    async def slow_start() -> list[int]:
        def dripping(provider: ScriptedProvider) -> None:
            provider.answers[DISCOVERY] = Answer(body={"a": "b" * 5000}, drip=0.05)

        async with (
            open_rig(tmp_path, prepare=dripping, wait="healthz") as slow,
            UserAgent(slow.service.base_url, timeout=30) as browser,
        ):
            pages = (browser.navigate("/bff/login", follow=False) for _ in range(5))
            return [page.status for page in await asyncio.gather(*pages)]

    began = time.monotonic()
    outcomes = await asyncio.gather(slow_login("silent"), slow_login("drip"), slow_start())
    assert time.monotonic() - began < 45
    assert outcomes[2] == [503] * 5
    for outcome, reason in zip(outcomes[:2], ("ReadTimeout", "TimeoutError"), strict=True):
        assert isinstance(outcome, Outcome)
        assert (outcome.page.status, outcome.reasons, outcome.signed_in) == (503, [reason], False)


async def test_a_new_key_with_an_old_name_is_found(rig: Rig) -> None:
    """The good keys still work after all this, so no failure was kept."""
    assert (await rig.login(lambda begun: jose.sign(begun.claims, kid="one"))).signed_in
