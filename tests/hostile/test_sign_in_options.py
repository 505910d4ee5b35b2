"""What was asked of a sign-in must come back in the ID token, or there is no session of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.hostile.rig import Rig
from tests.support.scripted_provider import Answer
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")


def claims(**id_token: Any) -> str:
    """Return the option that asks for claims of the ID token."""
    return "claims=" + quote(json.dumps({"id_token": id_token}))


@dataclass(frozen=True)
class Ago:
    """A time so many seconds before the test."""

    seconds: int


def of_now(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the claims with times as they are now."""
    now = int(time.time())
    return {
        name: now - value.seconds if isinstance(value, Ago) else value
        for name, value in changes.items()
    }


REFUSED = [
    ("acr_values=gold", {}, "acr"),
    ("acr_values=gold", {"acr": "silver"}, "acr"),
    ("acr_values=gold", {"acr": ["gold"]}, "acr"),
    ("acr_values=gold%20platinum", {"acr": "gold platinum"}, "acr"),
    ("max_age=0", {}, "max_age"),
    ("max_age=0", {"auth_time": Ago(60)}, "max_age"),
    ("max_age=300", {"auth_time": Ago(400)}, "max_age"),
    ("max_age=300", {"auth_time": Ago(-90)}, "auth_time"),
    ("max_age=300", {"auth_time": "now"}, "auth_time"),
    ("", {"auth_time": Ago(-90)}, "auth_time"),
    (claims(acr={"essential": True, "values": ["gold"]}), {"acr": "silver"}, "acr"),
    (claims(acr={"essential": True}), {}, "essential_claim"),
    (claims(auth_time={"essential": True}), {}, "essential_claim"),
    (claims(sub={"value": "bob"}), {}, "other_sub"),
]


@pytest.mark.parametrize(("options", "changes", "reason"), REFUSED)
async def test_what_does_not_come_back_is_no_sign_in(
    rig: Rig, options: str, changes: dict[str, Any], reason: str
) -> None:
    """No call after the ID token, `login_failed` with the reason, and the session of before."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        rig.grants(begun)
        await rig.finish(browser, begun)
        before = (await browser.fetch("/bff/session")).json()["session"]["id"]
        begun = await rig.begin(browser, f"?{options}")
        begun.claims.update(of_now(changes))
        rig.grants(begun)
        outcome = await rig.finish(browser, begun)
        assert outcome.page.status == 400
        assert ">login_failed</code>" in outcome.page.text
        assert outcome.reasons == [reason]
        assert outcome.asked == ["/token"]
        after = (await browser.fetch("/bff/session")).json()["session"]["id"]
        assert after == before


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ("acr_values=gold%20silver", {"acr": "silver"}),
        ("max_age=0", {"auth_time": Ago(5)}),
        ("max_age=300", {"auth_time": Ago(200)}),
        (claims(acr={"essential": True, "values": ["gold"]}), {"acr": "gold"}),
        (claims(acr={"values": ["gold"]}), {"acr": "silver"}),
        (claims(auth_time={"essential": True}, email=None), {"auth_time": Ago(4000)}),
        (claims(sub={"value": "alice"}), {}),
    ],
)
async def test_what_comes_back_is_a_sign_in(
    rig: Rig, options: str, changes: dict[str, Any]
) -> None:
    """A wish (a claim that is not essential) need not be granted."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser, f"?{options}")
        begun.claims.update(of_now(changes))
        rig.grants(begun)
        assert (await rig.finish(browser, begun)).signed_in


async def test_how_the_user_signed_in_is_the_id_tokens_word(rig: Rig) -> None:
    """The userinfo answer speaks of the user and not of this sign-in, so it makes none stronger."""
    said = rig.provider.answers["/userinfo"]
    user = {"sub": "alice", "name": "Alice", "acr": "gold", "amr": ["mfa"], "auth_time": 1}
    rig.provider.answers["/userinfo"] = Answer(body=user)
    try:
        async with UserAgent(rig.service.base_url) as browser:
            begun = await rig.begin(browser)
            rig.grants(begun)
            await rig.finish(browser, begun)
            user = (await browser.fetch("/bff/session")).json()["user"]
            assert user["name"] == "Alice"
            assert not {"acr", "amr", "auth_time"} & user.keys()
    finally:
        rig.provider.answers["/userinfo"] = said
