"""Poisoned logout tokens: the modules of the Back-Channel RP plan, and traps T1 and T13.

A token that is believed: 200 exactly, and the session has ended when the answer comes. Any other:
400 exactly, and the session goes on. `no-store` on both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.hostile.rig import (
    CLIENT_ID,
    Rig,
    open_rig,
    post_logout_token,
    signed_with_any_header,
    times,
)
from tests.support import jose
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUMBERS = count()
ODD_SID = "abcdefghijklmnopqrst0123456789 %&#`"


def claims(rig: Rig, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good logout token for Alice's session `s1`."""
    given = {
        **times(120),
        "iss": rig.provider.issuer,
        "aud": CLIENT_ID,
        "sub": "alice",
        "sid": "s1",
    }
    return jose.logout_claims(**{**given, "jti": f"jti-{next(NUMBERS)}", **changes})


async def sign_in(rig: Rig, browser: UserAgent, sid: object = "s1", sub: str = "alice") -> None:
    """Sign in with a session of the provider's; its time is well before any logout token's."""
    begun = await rig.begin(browser, sub=sub)
    rig.grants(begun, jose.sign({**begun.claims, "sid": sid}, kid="one"))
    outcome = await rig.finish(browser, begun)
    assert outcome.signed_in, outcome.reasons


@pytest_asyncio.fixture(loop_scope="session")
async def alice(rig: Rig) -> AsyncIterator[UserAgent]:
    """Alice's browser, signed in; her session's `sid` is her own in each test."""
    async with UserAgent(rig.service.base_url) as browser:
        yield browser


def accepted(answer: httpx2.Response) -> bool:
    """Whether the answer is exactly 200; anything but 200 and 400 fails."""
    assert answer.status_code in {200, 400}, answer.text
    assert "no-store" in answer.headers["cache-control"]
    return answer.status_code == 200


async def still_signed_in(browser: UserAgent) -> bool:
    """Whether the session goes on."""
    return bool((await browser.fetch("/bff/session")).json()["authenticated"])


POISONS: dict[str, tuple[str, dict[str, Any]]] = {
    "oidcc-client-test-rp-backchannel-no-event": ("events", {"events": None}),
    "oidcc-client-test-rp-backchannel-with-nonce": ("nonce", {"nonce": "n"}),
    "oidcc-client-test-rp-backchannel-wrong-aud": ("aud", {"aud": f"{CLIENT_ID}INVALID"}),
    "oidcc-client-test-rp-backchannel-wrong-event": (
        "events", {"events": {"http://schemas.openid.net/event/foobar": {}}},
    ),
    "oidcc-client-test-rp-backchannel-wrong-iss": ("iss", {"iss": "https://other.example/"}),
    "an event that is no object": ("events", {"events": {jose.LOGOUT_EVENT: True}}),
    "events that are a list": ("events", {"events": [jose.LOGOUT_EVENT]}),
    "a nonce that is null": ("nonce", {"nonce": ""}),
    "neither sub nor sid": ("no_sub_no_sid", {"sub": None, "sid": None}),
    "a sid that is no string": ("sid", {"sid": 7}),
    "an empty sid": ("sid", {"sid": ""}),
    "a sub that is no string": ("sub", {"sub": {"a": 1}}),
    "no jti": ("jti", {"jti": None}),
    "no exp": ("exp", {"exp": None}),
    "no iat": ("iat", {"iat": None}),
    "expired": ("exp", {"exp": 1_600_000_000}),
    "from the future": ("iat", {"iat": 9_000_000_000, "exp": 9_000_000_100}),
    "a second audience": ("aud", {"aud": [CLIENT_ID, "other"]}),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "changes"), POISONS.values(), ids=POISONS.keys())
async def test_a_poisoned_logout_token_ends_nothing(
    rig: Rig, alice: UserAgent, reason: str, changes: dict[str, Any]
) -> None:
    """400, `no-store`, the reason in the log, and Alice stays signed in."""
    await sign_in(rig, alice, f"kept {reason}")
    token = jose.sign(claims(rig, **{"sid": f"kept {reason}", **changes}), kid="one")
    answer = await post_logout_token(rig, token)
    assert not accepted(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    refused = rig.service.events("logout.backchannel_refused")[-1]
    assert (refused["reason"], refused["request_id"]) == (reason, answer.headers["x-request-id"])
    assert await still_signed_in(alice)


async def test_oidcc_client_test_rp_backchannel_rpinitlogout(rig: Rig, alice: UserAgent) -> None:
    """A good token ends the session at once; also where it has ended already; also a replay."""
    await sign_in(rig, alice, "s-good")
    token = jose.sign(claims(rig, sid="s-good", ignored_claim="x", sub=None), kid="one")
    answer = await post_logout_token(rig, token)
    assert accepted(answer)
    assert answer.content == b""
    assert not await still_signed_in(alice)
    assert accepted(await post_logout_token(rig, token))
    assert accepted(await post_logout_token(rig, jose.sign(claims(rig, sid="s-good"), kid="one")))


async def test_a_replayed_token_has_no_effect(rig: Rig, alice: UserAgent) -> None:
    """A session that begins after the first use outlives the second."""
    await sign_in(rig, alice, sub="carol")
    token = jose.sign(claims(rig, sub="carol", sid=None), kid="one")
    assert accepted(await post_logout_token(rig, token))
    assert not await still_signed_in(alice)
    await asyncio.sleep(1.1)  # tokens tell time in whole seconds
    await sign_in(rig, alice, sub="carol")
    assert accepted(await post_logout_token(rig, token))
    assert await still_signed_in(alice)
    assert rig.service.log[-1]["event"] != "logout.by_provider"


async def test_oidcc_client_test_rp_backchannel_alg_none(rig: Rig, alice: UserAgent) -> None:
    """An unsigned token, and one under an HMAC, are refused."""
    await sign_in(rig, alice, "s-none")
    for token in (
        jose.forge({"alg": "none"}, claims(rig, sid="s-none")),
        jose.forge({"alg": "HS256"}, claims(rig, sid="s-none"), jose.rsa().as_pem(private=False)),
    ):
        assert not accepted(await post_logout_token(rig, token))
        assert rig.service.events("logout.backchannel_refused")[-1]["reason"] == "alg"
    assert await still_signed_in(alice)


async def test_oidcc_client_test_rp_backchannel_wrong_alg(rig: Rig, alice: UserAgent) -> None:
    """ES256 by a key that is in the set: the algorithm is the registered one, or refused."""
    await sign_in(rig, alice, "s-alg")
    token = jose.sign(claims(rig, sid="s-alg"), jose.ec(), "ES256", kid="two")
    assert not accepted(await post_logout_token(rig, token))
    assert rig.service.events("logout.backchannel_refused")[-1]["reason"] == "alg"
    assert await still_signed_in(alice)


async def test_a_foreign_or_id_token_is_no_logout_token(rig: Rig, alice: UserAgent) -> None:
    """An ID token that was stolen signs nobody out, nor does a stranger's signature."""
    await sign_in(rig, alice, "s-foreign")
    id_token = rig.provider.id_token(sub="alice", sid="s-foreign", aud=CLIENT_ID)
    stranger = jose.sign(claims(rig, sid="s-foreign"), jose.rsa("stranger"), kid="one")
    for token in (id_token, stranger, "", "x", "a.b.c", "%00", "a" * 60_000):
        assert not accepted(await post_logout_token(rig, token))
    assert await still_signed_in(alice)


@pytest.mark.parametrize(
    ("typ", "good"),
    [
        (None, True), ("logout+jwt", True), ("LOGOUT+JWT", True), ("application/logout+jwt", True),
        ("JWT", True), ("jwt", True), ("application/jwt", True), ("at+jwt", False),
        ("id_token+jwt", False), ("", False), ("logout+jwt;x", False), (7, False), (["JWT"], False),
    ],
)  # fmt: skip
async def test_the_type_of_a_logout_token(
    rig: Rig, alice: UserAgent, typ: object, good: bool
) -> None:
    """Absent, plain or the right one passes; any other does not (T1, `if_present`)."""
    await sign_in(rig, alice, f"s-typ-{json.dumps(typ)}")
    header = {} if typ is None else {"typ": typ}
    token = signed_with_any_header(header, claims(rig, sid=f"s-typ-{json.dumps(typ)}"))
    assert accepted(await post_logout_token(rig, token)) is good
    assert await still_signed_in(alice) is not good


async def test_a_required_type_must_be_there(tmp_path: Path) -> None:
    """With BFF_LOGOUT_TOKEN_TYP=required only `logout+jwt` passes (T1, ASVS 10.5.5)."""
    async with open_rig(tmp_path, {"BFF_LOGOUT_TOKEN_TYP": "required"}) as rig:
        for header, good in (
            ({}, False), ({"typ": "JWT"}, False), ({"typ": "logout+jwt"}, True),
            ({"typ": "application/logout+jwt"}, True),
        ):  # fmt: skip
            token = signed_with_any_header(header, claims(rig))
            assert accepted(await post_logout_token(rig, token)) is good


@pytest.mark.parametrize(
    "sid",
    [ODD_SID, " ", "*", "s1}{s2", "a|b", "\x00\r\n", "\N{SNOWMAN}" * 50, "a" * 20_000, "../x"],
    ids=ascii,
)
async def test_any_sid_is_handled(rig: Rig, alice: UserAgent, sid: str) -> None:
    """A `sid` of any characters ends its session and no other; an unknown one is 200 (T13)."""
    async with UserAgent(rig.service.base_url) as bystander:
        await sign_in(rig, bystander, "s-bystander")
        await sign_in(rig, alice, sid)
        assert accepted(await post_logout_token(rig, jose.sign(claims(rig, sid=sid), kid="one")))
        assert not await still_signed_in(alice)
        assert await still_signed_in(bystander)
        odd = jose.sign(claims(rig, sid=f"unknown {sid}"), kid="one")
        assert accepted(await post_logout_token(rig, odd))
