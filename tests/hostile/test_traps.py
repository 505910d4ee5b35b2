"""The traps of libraries, providers and certification suites, T1 to T20, each on a running service.

Other tests here go into more of the spellings of a trap; these show that none is forgotten.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import httpx2
import pytest
import pytest_asyncio

from tests.hostile.fapi import Fapi
from tests.hostile.rig import (
    CLIENT_ID,
    CLIENT_SECRET,
    Begun,
    Rig,
    Wide,
    open_rig,
    post_logout_token,
    signed_with_any_header,
    times,
)
from tests.support import jose
from tests.support.raw_http import RawAnswer, exchange, request
from tests.support.scripted_provider import Answer
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

ODD_SID = "abcdefghijklmnopqrst0123456789 %&#`"


@pytest_asyncio.fixture(loop_scope="session")
async def browser(wide: Wide) -> AsyncIterator[UserAgent]:
    """A browser at the service with every way in and out."""
    async with UserAgent(wide.rig.service.base_url) as browser:
        yield browser


async def sign_in(rig: Rig, browser: UserAgent, sid: str | None = None) -> str:
    """Sign in; return the ID token."""
    begun = await rig.begin(browser)
    id_token = rig.sign(begun.claims if sid is None else {**begun.claims, "sid": sid})
    rig.grants(begun, id_token)
    outcome = await rig.finish(browser, begun)
    assert outcome.signed_in, outcome.reasons
    return id_token


async def signed_in(browser: UserAgent) -> bool:
    """Whether the service says that this browser is signed in."""
    return bool((await browser.fetch("/bff/session")).json()["authenticated"])


def logout_claims(rig: Rig, sid: str) -> dict[str, Any]:
    """Return the claims of a good logout token."""
    given = {**times(120), "iss": rig.provider.issuer, "aud": CLIENT_ID, "sid": sid, "jti": sid}
    return jose.logout_claims(**given)


async def raw(wide: Wide, browser: UserAgent, target: str, *fields: str) -> RawAnswer:
    """Send exactly this target and these fields, with the session's cookie."""
    cookie = f"Cookie: {browser.cookies.header(wide.rig.service.base_url, same_site=True)}"
    sent = request(target, cookie, "Sec-Fetch-Site: same-origin", *fields)
    return await exchange(wide.rig.service.base_url, sent)


async def test_t1_the_type_of_a_logout_token(wide: Wide, browser: UserAgent) -> None:
    """No `typ` passes, as the certification suite sends none; that of another token never does."""
    await sign_in(wide.rig, browser, "t1")
    claims = logout_claims(wide.rig, "t1")
    for typ in ("at+jwt", "id_token+jwt", "dpop+jwt"):
        token = signed_with_any_header({"typ": typ}, claims)
        assert (await post_logout_token(wide.rig, token)).status_code == 400
    assert await signed_in(browser)
    token = signed_with_any_header({}, claims)
    assert (await post_logout_token(wide.rig, token)).status_code == 200
    assert not await signed_in(browser)


async def test_t2_a_token_without_kid(rig: Rig) -> None:
    """One key fits by type, use and algorithm, among many that do not: it is the one."""
    assert (await rig.login(lambda begun: jose.sign(begun.claims))).signed_in


async def test_t3_alg_none_in_the_metadata(rig: Rig) -> None:
    """The provider lists `none` and HS256; both are refused, and so is a key as HMAC secret."""
    assert rig.provider.document()["id_token_signing_alg_values_supported"][0] == "none"
    for header, secret in (
        ({"alg": "none"}, b""),
        ({"alg": "HS256"}, CLIENT_SECRET.encode()),
        ({"alg": "HS256"}, jose.rsa().as_pem(private=False)),
    ):

        def mint(begun: Begun, header: Any = header, secret: bytes = secret) -> str:
            return jose.forge(header, begun.claims, secret)

        outcome = await rig.login(mint)
        assert (outcome.reasons, outcome.asked, outcome.signed_in) == (["alg"], ["/token"], False)


async def test_t4_an_audience_that_is_not_us_alone(rig: Rig) -> None:
    """`azp` with our name makes no other audience ours."""
    for aud in ("other", [CLIENT_ID, "evil"], ["evil"], [], {CLIENT_ID: 1}, [[CLIENT_ID]]):

        def mint(begun: Begun, aud: object = aud) -> str:
            return rig.sign({**begun.claims, "aud": aud, "azp": CLIENT_ID})

        outcome = await rig.login(mint)
        assert (outcome.reasons, outcome.asked, outcome.signed_in) == (["aud"], ["/token"], False)


async def test_t5_unusable_keys_hide_no_other(rig: Rig) -> None:
    """Unknown curves and types, tiny keys and things that are no keys stand before the good one."""
    said = rig.provider.answers["/jwks"]
    assert isinstance(said, Answer)
    assert said.body["keys"][0]["crv"] == "P-999"
    assert (await rig.login()).signed_in


async def test_t6_basic_is_form_encoded(rig: Rig) -> None:
    """Exactly two parts, each form-encoded, whatever is in them (RFC 6749 2.3.1)."""
    await rig.login()
    value = rig.provider.last("/token").headers["authorization"].removeprefix("Basic ")
    parts = base64.b64decode(value).decode("ascii").split(":")
    assert [unquote_plus(part) for part in parts] == [CLIENT_ID, CLIENT_SECRET]


async def test_t7_an_assertion_is_for_the_issuer(fapi: Fapi) -> None:
    """`aud` is the issuer as a string, at every endpoint, so no other provider can use it."""
    async with UserAgent(fapi.rig.service.base_url) as browser:
        begun = await fapi.rig.begin(browser)
        fapi.rig.grants(begun)
        await fapi.rig.finish(browser, begun, {"iss": fapi.rig.provider.issuer})
    for path in ("/par", "/token"):
        payload = fapi.rig.provider.last(path).form["client_assertion"].split(".")[1]
        assert json.loads(jose.unb64(payload))["aud"] == fapi.rig.provider.issuer
    assert fapi.all_faults() == []


async def test_t8_a_repeated_request_is_made_anew(fapi: Fapi) -> None:
    """A demand for a nonce is met once, with a new proof and a new assertion."""
    fapi.at_token.nonces.clear()
    async with UserAgent(fapi.rig.service.base_url) as browser:
        begun = await fapi.rig.begin(browser)
        fapi.rig.grants(begun)
        outcome = await fapi.rig.finish(browser, begun, {"iss": fapi.rig.provider.issuer})
    assert outcome.signed_in
    assert outcome.asked[:3] == ["/token", "/token", "/userinfo"]
    tries = [one for one in fapi.rig.provider.asked if one.target == "/token"][-2:]
    assert tries[0].form["code"] == tries[1].form["code"] == begun.code
    assert tries[0].form["client_assertion"] != tries[1].form["client_assertion"]
    assert tries[0].headers["dpop"] != tries[1].headers["dpop"]
    assert fapi.all_faults() == []


async def test_t9_the_slash_of_the_issuer(rig: Rig) -> None:
    """The issuer ends with a slash: discovered without a second one, compared with it."""
    assert rig.provider.issuer.endswith("/")
    assert rig.provider.times("//.well-known/openid-configuration") == 0
    bare = rig.provider.issuer.rstrip("/")
    outcome = await rig.login(lambda begun: rig.sign(begun.claims | {"iss": bare}))
    assert (outcome.reasons, outcome.asked) == (["iss"], ["/token"])
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        outcome = await rig.finish(browser, begun, {"iss": bare})
        assert (outcome.reasons, outcome.asked) == (["iss_mismatch"], [])


async def test_t10_a_rotation_is_seen_while_strangers_ask(tmp_path: Path) -> None:
    """New keys under old names, right after the last fetch, and while strangers send tokens.

    Each of theirs asks for keys that nobody has; what that costs them must not be taken from us.
    """
    async with open_rig(tmp_path) as rig:
        assert (await rig.login()).signed_in
        for number in range(8):
            token = jose.sign(logout_claims(rig, "x"), jose.rsa("evil"), kid=f"unknown-{number}")
            assert (await post_logout_token(rig, token)).status_code == 400
        assert rig.provider.times("/jwks") < 6, "strangers do not make us hammer the provider"
        new = jose.rsa("rotated")
        rig.provider.keys = [jose.jwk(new, kid="one")]
        outcome = await rig.login(lambda begun: jose.sign(begun.claims, new, kid="one"))
        assert (outcome.signed_in, outcome.reasons) == (True, [])
        rig.provider.answers["/jwks"] = Answer(503, {})
        newer = jose.rsa("rotated again")
        outcome = await rig.login(lambda begun: jose.sign(begun.claims, newer, kid="two"))
        assert not outcome.signed_in
        assert (await rig.login(lambda begun: jose.sign(begun.claims, new, kid="one"))).signed_in


async def test_t11_the_two_cookies(rig: Rig, wide: Wide) -> None:
    """The session's is Strict; the login's comes along from another site, and in forms too."""
    for one, same_site in ((rig, "SameSite=Lax"), (wide.rig, "Secure; SameSite=None")):
        async with UserAgent(one.service.base_url) as browser:
            begun = await one.begin(browser)
            login_cookie = browser.visits[-1].headers["set-cookie"]
            assert same_site in login_cookie
            one.grants(begun)
            outcome = await one.finish(browser, begun)
            session_cookie = outcome.page.headers["set-cookie"]
            assert "SameSite=Strict" in session_cookie
            assert "HttpOnly" in session_cookie
            assert "HttpOnly" in login_cookie
            assert session_cookie.partition("=")[0] != login_cookie.partition("=")[0]
            assert (outcome.page.status, "location" in outcome.page.headers) == (200, False)
            assert 'http-equiv="refresh"' in outcome.page.text, "a hop that starts on this site"


async def test_t12_the_frame_of_the_provider(wide: Wide, browser: UserAgent) -> None:
    """No cookie comes along into a frame of another site: `iss` and `sid` alone decide."""
    rig = wide.rig
    await sign_in(rig, browser, "t12")
    query = urlencode({"iss": rig.provider.issuer, "sid": "t12"})
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{rig.service.base_url}/bff/frontchannel-logout?{query}")
    assert not await signed_in(browser)
    policy = answer.headers["content-security-policy"]
    assert policy.endswith(f"frame-ancestors {rig.provider.issuer.rstrip('/')}")
    assert "x-frame-options" not in answer.headers
    assert "no-store" in answer.headers["cache-control"]


async def test_t13_a_sid_of_odd_characters(wide: Wide, browser: UserAgent) -> None:
    """It ends its session, in a form and in an address that nobody encoded; it is in no log."""
    rig = wide.rig
    await sign_in(rig, browser, ODD_SID)
    token = jose.sign(logout_claims(rig, ODD_SID), kid="one")
    assert (await post_logout_token(rig, token)).status_code == 200
    assert not await signed_in(browser)
    target = f"/bff/frontchannel-logout?iss={rig.provider.issuer}&sid={ODD_SID.replace(' ', '%20')}"
    assert (await exchange(rig.service.base_url, request(target))).status in {200, 400}
    assert "abcdefghijklmnopqrst" not in rig.service.process.text()


async def test_t14_the_hint_is_the_raw_id_token(wide: Wide, browser: UserAgent) -> None:
    """What the provider issued, to the byte, and an address that is registered."""
    id_token = await sign_in(wide.rig, browser)
    answer = await browser.fetch("/bff/logout", method="POST")
    page = await browser.navigate(answer.json()["logout_url"], follow=False)
    query = parse_qs(urlsplit(page.headers["location"]).query)
    assert query["id_token_hint"] == [id_token]
    assert query["post_logout_redirect_uri"] == [f"{wide.rig.service.base_url}/bff/logged-out"]


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/x", "//evil.example/x", "/api/../admin", "/api/%2e%2e/admin",
        "/api/..%2fadmin", "/api/..;/admin", "/api/\\evil.example", "/api//admin", "/api/%00",
        "/api/%5c..%5cadmin", "/api/x/%2E%2e", "/api/a%0d%0aX: 1", "/api/%zz", "/apix/../api",
        "@evil.example/", "/api@evil.example/",
    ],
)  # fmt: skip
async def test_t15_no_target_leads_elsewhere(wide: Wide, browser: UserAgent, target: str) -> None:
    """Neither to another host nor out of the route: refused, and nothing is sent anywhere."""
    await sign_in(wide.rig, browser)
    before = len(wide.api.asked), len(wide.rig.provider.asked)
    answer = await raw(wide, browser, target)
    assert answer.status in {400, 404}, target
    assert (len(wide.api.asked), len(wide.rig.provider.asked)) == before


async def test_t16_names_that_pretend(wide: Wide, browser: UserAgent) -> None:
    """`_` for `-`, `Connection` that names our own fields, and every name by which to pretend."""
    await sign_in(wide.rig, browser)
    wide.api.answers["/api/who"] = Answer(body={})
    answer = await raw(
        wide, browser, "/api/who", "X_Forwarded_User: evil", "X-Forwarded_For: 6.6.6.6",
        "Connection: authorization, x-forwarded-for", "X-Forwarded-Uri: /evil",
        "Authorization: Bearer evil", "DPoP: evil", "X-Forwarded-User: evil", "X-CSRF: 1",
    )  # fmt: skip
    assert answer.status == 200
    headers = wide.api.last("/api/who").headers
    assert headers["authorization"].startswith("Bearer access-")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not [name for name, value in headers.items() if "_" in name or "evil" in value]
    assert not {"cookie", "x-csrf", "dpop", "x-forwarded-uri"} & headers.keys()


async def test_t17_userinfo_comes_last(rig: Rig) -> None:
    """Asked after the ID token is believed and before there is a session, and never else."""
    assert (await rig.login()).asked == ["/token", "/userinfo"]
    bad = await rig.login(lambda begun: rig.sign(begun.claims | {"nonce": "x"}))
    assert (bad.asked, bad.signed_in) == (["/token"], False)
    good = rig.provider.answers["/userinfo"]
    rig.provider.answers["/userinfo"] = Answer(500, {})
    try:
        without = await rig.login()
    finally:
        rig.provider.answers["/userinfo"] = good
    assert (without.page.status, without.reasons) == (503, ["userinfo_500"])
    assert not without.signed_in


@pytest.mark.parametrize(
    "charset", ["base64", "undefined", "idna", "rot13", "utf-16", "x", '"', ""]
)
async def test_t17_a_charset_of_the_providers_is_not_believed(rig: Rig, charset: str) -> None:
    """A JWT is ASCII: what the answer says of its encoding starts no codec, and crashes nothing."""
    good = rig.provider.answers["/userinfo"]
    claims = {"iss": rig.provider.issuer, "aud": CLIENT_ID, "sub": "alice"}
    kind = f"application/jwt; charset={charset}"
    try:
        for body, signed_in in ((rig.sign(claims).encode(), True), (b"\xff.\xfe.\x00", False)):
            rig.provider.answers["/userinfo"] = Answer(body=body, content_type=kind)
            outcome = await rig.login()
            assert (outcome.page.status, outcome.signed_in) == (
                200 if signed_in else 400,
                signed_in,
            )
    finally:
        rig.provider.answers["/userinfo"] = good


async def test_t18_a_sign_out_has_a_state(wide: Wide, browser: UserAgent) -> None:
    """Two modules of the suite are left out for who sends none; it is fresh each time."""
    states = set[str]()
    for _ in range(2):
        await sign_in(wide.rig, browser)
        answer = await browser.fetch("/bff/logout", method="POST")
        page = await browser.navigate(answer.json()["logout_url"], follow=False)
        states.update(parse_qs(urlsplit(page.headers["location"]).query)["state"])
    assert {len(state) for state in states} == {43}
    assert len(states) == 2


async def test_t19_a_login_that_nobody_sees(rig: Rig, wide: Wide) -> None:
    """Switched off it is not there; else only a navigation of the whole window begins one."""
    issuer = wide.rig.provider.issuer
    query = urlencode({"iss": issuer, "target_link_uri": "https://evil.example/"})
    fields = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
    target = f"/bff/initiate-login?{query}"
    assert (await exchange(rig.service.base_url, request(target))).status == 404
    unseen = await exchange(wide.rig.service.base_url, request(target, *fields))
    assert (unseen.status, "set-cookie" in unseen.headers) == (403, False)
    async with UserAgent(wide.rig.service.base_url) as browser:
        page = await browser.navigate(target, initiator=issuer, follow=False)
        assert page.headers["location"].startswith(wide.rig.provider.url("/authorize?"))


async def test_t20_members_of_a_token_answer(rig: Rig) -> None:
    """No `expires_in`, and `token_type` in any case; a kind that we cannot use is refused."""
    assert (await rig.login(expires_in=None, token_type="bEARER")).signed_in
    outcome = await rig.login(token_type="mac")
    assert (outcome.reasons, outcome.asked) == (["token_endpoint_token_type"], ["/token"])


async def test_claims_from_elsewhere_are_not_fetched(rig: Rig) -> None:
    """Aggregated and distributed claims name other sources: none is asked, and none believed."""
    elsewhere = rig.provider.url("/claims")
    said = {
        "sub": "alice",
        "_claim_names": {"eye_color": "src1", "credit": "src2"},
        "_claim_sources": {
            "src1": {"JWT": jose.forge({"alg": "none"}, {"eye_color": "blue"})},
            "src2": {"endpoint": elsewhere, "access_token": "somebody-elses-token"},
        },
    }
    good = rig.provider.answers["/userinfo"]
    rig.provider.answers["/userinfo"] = Answer(body=said)
    try:
        outcome = await rig.login()
    finally:
        rig.provider.answers["/userinfo"] = good
    assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/userinfo"])
    assert rig.provider.times("/claims") == 0
