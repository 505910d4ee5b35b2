"""What looks odd but is right: the modules that must be accepted, and traps T2, T9, T14, T20."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest

from tests.hostile.rig import CLIENT_ID, CLIENT_SECRET, Begun, Rig, open_rig
from tests.support import jose
from tests.support.scripted_provider import DISCOVERY, Answer, ScriptedProvider
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

Open = Callable[[Callable[[ScriptedProvider], None]], AbstractAsyncContextManager[Rig]]


@pytest.fixture
def rig_with(tmp_path: Path) -> Open:
    """A function that runs a service at a provider of its own."""
    return lambda prepare: open_rig(tmp_path, prepare=prepare)


async def test_oidcc_client_test(rig: Rig) -> None:
    """A good login: code redeemed once, then userinfo with the token in the header; signed in."""
    outcome = await rig.login()
    assert (outcome.page.status, outcome.signed_in, outcome.reasons) == (200, True, [])
    assert outcome.asked == ["/token", "/userinfo"]
    asked = rig.provider.last("/userinfo")
    assert asked.headers["authorization"].startswith("Bearer access-code-")
    assert "?" not in asked.target
    form = rig.provider.last("/token").form
    assert set(form) == {"grant_type", "code", "redirect_uri", "code_verifier"}
    assert form["grant_type"] == "authorization_code"
    assert form["redirect_uri"] == f"{rig.service.base_url}/bff/callback"
    assert len(form["code_verifier"]) == 43


async def test_oidcc_client_test_client_secret_basic(rig: Rig) -> None:
    """Both parts are form-encoded before base64, so that odd characters arrive (T6)."""
    await rig.login()
    scheme, _, value = rig.provider.last("/token").headers["authorization"].partition(" ")
    parts = base64.b64decode(value).decode().split(":")
    assert scheme == "Basic"
    assert [unquote_plus(part) for part in parts] == [CLIENT_ID, CLIENT_SECRET]


async def test_oidcc_client_test_scope_userinfo_claims(rig: Rig) -> None:
    """The request has `openid`, a scope with claims, S256, and 43-character state and nonce."""
    async with UserAgent(rig.service.base_url) as browser:
        begun, other = await rig.begin(browser), await rig.begin(browser)
    query = begun.query
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert query["scope"].split() == ["openid", "profile"]
    assert query["client_id"] == CLIENT_ID
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name]) == 43
        assert query[name] != other.query[name]


async def test_oidcc_client_test_idtoken_sig_rs256(rig: Rig) -> None:
    """RS256 by a key whose `kid` two unusable keys share (T5)."""
    assert (await rig.login(lambda begun: jose.sign(begun.claims, kid="one"))).signed_in


async def test_oidcc_client_test_kid_absent_single_jwks(rig_with: Open) -> None:
    """No `kid` anywhere, one RSA key among keys of other kinds and uses: accepted (T2)."""

    def prepare(provider: ScriptedProvider) -> None:
        curves = (jose.ec("P-256"), jose.ec("secp256k1"), jose.ed25519())
        provider.keys = [jose.jwk(key, use="sig") for key in (jose.rsa(), *curves)] + [
            jose.jwk(key, use="enc") for key in (jose.rsa("encryption"), jose.ec(name="encryption"))
        ]

    async with rig_with(prepare) as rig:
        outcome = await rig.login(lambda begun: jose.sign(begun.claims))
        assert outcome.signed_in
        assert outcome.asked == ["/token", "/userinfo"]


async def test_oidcc_client_test_kid_absent_multiple_jwks(rig_with: Open) -> None:
    """No `kid` anywhere and three RSA keys: the one that signed is found, or none is believed."""

    def prepare(provider: ScriptedProvider) -> None:
        keys = (jose.rsa("wrong"), jose.rsa(), jose.rsa("other"))
        provider.keys = [jose.jwk(key, use="sig") for key in keys]

    async with rig_with(prepare) as rig:
        assert (await rig.login(lambda begun: jose.sign(begun.claims))).signed_in
        stranger = await rig.login(lambda begun: jose.sign(begun.claims, jose.rsa("stranger")))
        assert (stranger.signed_in, stranger.reasons) == (False, ["signature"])


async def test_oidcc_client_test_signing_key_rotation(rig_with: Open) -> None:
    """A new key between two logins, one just before signing, one elsewhere: found, accepted."""
    async with rig_with(lambda _: None) as rig:
        assert (await rig.login()).asked == ["/token", "/userinfo"]
        new = jose.rsa("second")
        rig.provider.keys = [jose.jwk(new, kid="two")]
        outcome = await rig.login(lambda begun: jose.sign(begun.claims, new, kid="two"))
        assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/jwks", "/userinfo"])

        def just_before(begun: Begun) -> str:
            rig.provider.keys = [jose.jwk(jose.rsa("third"), kid="two")]
            return jose.sign(begun.claims, jose.rsa("third"), kid="two")

        outcome = await rig.login(just_before)
        assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/jwks", "/userinfo"])

        def elsewhere(begun: Begun) -> str:
            rig.provider.answers["/jwks"] = Answer(404, {})
            rig.provider.answers["/keys"] = Answer(body={"keys": [jose.jwk(new, kid="four")]})
            rig.provider.metadata["jwks_uri"] = rig.provider.url("/keys")
            return jose.sign(begun.claims, new, kid="four")

        outcome = await rig.login(elsewhere)
        assert (outcome.signed_in, outcome.asked[-3:]) == (True, [DISCOVERY, "/keys", "/userinfo"])


@pytest.mark.parametrize(
    "members",
    [
        {"token_type": "bEARER"},
        {"expires_in": None},
        {"expires_in": "300"},
        {"expires_in": -5},
        {"expires_in": "soon"},
        {"expires_in": 10**30},
        {"scope": "openid"},
        {"refresh_token": None, "scope": None},
        {"unknown": {"nested": [1]}},
    ],
    ids=str,
)
async def test_odd_token_answers_are_understood(rig: Rig, members: dict[str, Any]) -> None:
    """Members may be absent, of another case, or unknown (T20)."""
    outcome = await rig.login(**members)
    assert (outcome.page.status, outcome.signed_in) == (200, True)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"token_type": "dPoP"}, "token_endpoint_token_type"),
        ({"token_type": None}, "token_endpoint_token_type"),
        ({"token_type": ["Bearer"]}, "token_endpoint_token_type"),
        ({"access_token": None}, "token_endpoint_no_access_token"),
        ({"access_token": ""}, "token_endpoint_no_access_token"),
        ({"access_token": "with space"}, "token_endpoint_no_access_token"),
        ({"access_token": "split\r\nX-Evil: 1"}, "token_endpoint_no_access_token"),
        ({"access_token": {"a": 1}}, "token_endpoint_no_access_token"),
        ({"id_token": 7}, "token_endpoint_id_token"),
        ({"refresh_token": 7}, "token_endpoint_refresh_token"),
    ],
    ids=str,
)
async def test_wrong_token_answers_are_refused(
    rig: Rig, members: dict[str, Any], reason: str
) -> None:
    """A token of a kind that we cannot use, or of the wrong type, ends the login."""
    outcome = await rig.login(**members)
    assert (outcome.reasons, outcome.signed_in) == ([reason], False)
    assert outcome.page.status == 400
    assert outcome.asked == ["/token"]


async def test_an_answer_without_id_token_is_refused(rig: Rig) -> None:
    """`openid` was asked for, so there must be one."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        body = {"access_token": "opaque", "token_type": "Bearer"}
        rig.plans[begun.code] = Answer(body=body)
        outcome = await rig.finish(browser, begun)
    assert (outcome.reasons, outcome.asked) == (["no_id_token"], ["/token"])


async def test_the_hint_at_sign_out_is_the_id_token_to_the_byte(rig: Rig) -> None:
    """`id_token_hint` is what the provider issued, and stands in no body (T14)."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        id_token = jose.sign({**begun.claims, "odd": "\N{SNOWMAN} +/=&"}, kid="one")
        rig.grants(begun, id_token)
        assert (await rig.finish(browser, begun)).signed_in
        answer = await browser.fetch("/bff/logout", method="POST")
        assert id_token not in answer.text
        page = await browser.navigate(answer.json()["logout_url"], follow=False)
        query = parse_qs(urlsplit(page.headers["location"]).query)
        assert query["id_token_hint"] == [id_token]
        assert query["client_id"] == [CLIENT_ID]
        assert query["post_logout_redirect_uri"] == [f"{rig.service.base_url}/bff/logged-out"]
        again = await browser.navigate(answer.json()["logout_url"], follow=False)
        assert (again.status, again.headers["location"]) == (303, "/")


async def test_oidcc_client_test_session_management(rig_with: Open) -> None:
    """`session_state` is given to the page, with the frame to watch; without a frame it is not."""

    def with_frame(provider: ScriptedProvider) -> None:
        provider.metadata["check_session_iframe"] = f"{provider.issuer}frame"

    async with rig_with(with_frame) as rig, UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        rig.grants(begun)
        await rig.finish(browser, begun, {"session_state": "state.salt"})
        told = (await browser.fetch("/bff/session")).json()
        assert told["session_management"] == {
            "client_id": CLIENT_ID, "session_state": "state.salt",
            "check_session_iframe": f"{rig.provider.issuer}frame",
        }  # fmt: skip
        begun = await rig.begin(browser)
        rig.grants(begun)
        await rig.finish(browser, begun, {"session_state": "no state has spaces"})
        told = (await browser.fetch("/bff/session")).json()
        assert (told["authenticated"], "session_management" in told) == (True, False)
