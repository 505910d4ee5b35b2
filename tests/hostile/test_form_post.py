"""The Form Post RP plan: the Basic modules again, with answers that come as a form of another site.

Keys and client authentication do not depend on how an answer comes; `kid-absent-single-jwks` and
`client-secret-basic` are therefore those of the Basic plan.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.hostile.rig import Begun, Mint, Wide
from tests.hostile.test_id_tokens import POISONS, forging
from tests.support import jose
from tests.support.scripted_provider import Answer
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")


def corrupted(begun: Begun) -> str:
    """Return an ID token whose signature has one bit changed."""
    signed, _, signature = jose.sign(begun.claims, kid="one").rpartition(".")
    first, *others = jose.unb64(signature)
    return f"{signed}.{jose.b64(bytes([first ^ 1, *others]))}"


REFUSED: dict[str, tuple[Mint, str]] = {
    **{
        name: (poison.mint, poison.reason)
        for name, poison in POISONS.items()
        if name.startswith("oidcc")
    },
    "oidcc-client-test-idtoken-sig-none": (forging("none"), "alg"),
    "oidcc-client-test-invalid-sig-rs256": (corrupted, "signature"),
}


@pytest.mark.parametrize(("mint", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_formpost_refuses(wide: Wide, mint: Mint, reason: str) -> None:
    """400, no userinfo call, no session, the reason in the log: as with answers in the address."""
    outcome = await wide.rig.login(mint)
    assert (outcome.reasons, outcome.signed_in) == ([reason], False)
    assert outcome.page.status == 400
    assert "/userinfo" not in outcome.asked


async def test_formpost_oidcc_client_test(wide: Wide) -> None:
    """A good answer in a form signs in; nothing of it is ever in an address of ours."""
    rig = wide.rig
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        assert begun.query["response_mode"] == "form_post"
        assert {"openid", "profile"} <= set(begun.query["scope"].split())
        rig.grants(begun)
        outcome = await rig.finish(browser, begun, {"session_state": "a.b", "unknown": "1"})
        assert (outcome.page.status, outcome.signed_in) == (200, True)
        assert outcome.asked == ["/token", "/userinfo"]
        ours = [one.url for one in browser.visits if one.url.startswith(rig.service.base_url)]
        assert not [url for url in ours if begun.code in url or begun.state in url]
    assert rig.provider.last("/token").headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("key", ["second", "third"])
async def test_formpost_oidcc_client_test_kid_absent_multiple_jwks(wide: Wide, key: str) -> None:
    """No `kid`, and three keys that could have signed: each is tried."""
    outcome = await wide.rig.login(lambda begun: jose.sign(begun.claims, jose.rsa(key)))
    assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/userinfo"])


async def test_formpost_oidcc_client_test_userinfo_invalid_sub(wide: Wide) -> None:
    """Userinfo about somebody else ends the login."""
    rig = wide.rig
    good = rig.provider.answers["/userinfo"]
    rig.provider.answers["/userinfo"] = Answer(body={"sub": "aliceinvalid", "name": "Eve"})
    try:
        outcome = await rig.login()
    finally:
        rig.provider.answers["/userinfo"] = good
    assert (outcome.reasons, outcome.signed_in) == (["userinfo_sub"], False)
    assert outcome.asked == ["/token", "/userinfo"]


async def test_oidcc_client_test_form_post_error(wide: Wide) -> None:
    """`error` in a form ends the login with a page of ours; the code beside it is not redeemed."""
    rig = wide.rig
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        rig.grants(begun)
        outcome = await rig.finish(browser, begun, {"error": "login_required"})
        assert (outcome.reasons, outcome.asked) == (["provider_error_login_required"], [])
        assert (outcome.page.status, urlsplit(outcome.page.url).path) == (400, "/bff/callback")
        again = await rig.finish(browser, begun)
        assert again.reasons == ["login_unknown"], "the login is over"


async def test_formpost_a_form_from_another_browser_is_nobodys(wide: Wide) -> None:
    """Who posts an answer to a login that this browser did not begin is signed in as nobody."""
    rig = wide.rig
    async with UserAgent(rig.service.base_url) as mine, UserAgent(rig.service.base_url) as evil:
        begun = await rig.begin(evil, sub="mallory")
        rig.grants(begun)
        assert (await rig.finish(mine, begun)).reasons == ["no_login_cookie"]
        await rig.begin(mine)
        outcome = await rig.finish(mine, begun)
        assert (outcome.reasons, outcome.asked) == (["login_unknown"], [])
