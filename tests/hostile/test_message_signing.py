"""FAPI 2.0 Message Signing, and encryption: signed requests by PAR, signed answers, nested tokens.

One test for each module `fapi2-message-signing-final-client-test-...`: after a poisoned answer
nobody is signed in and the provider is asked nothing more.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from joserfc.jwk import OctKey

from bff.oidc.keys import import_keys, verify
from tests.hostile.rig import CLIENT_ID, Begun, Outcome, Rig, open_rig, post_logout_token, times
from tests.support import jose
from tests.support.scripted_provider import DISCOVERY, Answer, Asked, ScriptedProvider
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENCRYPTION = jose.rsa("encryption")
Claims = dict[str, Any]


def offer(provider: ScriptedProvider) -> None:
    """Demand PAR and signed requests, as a provider of the profile does."""
    pushed = iter(range(1000))
    provider.answers["/par"] = lambda _: Answer(
        201, {"request_uri": f"urn:request:{next(pushed)}", "expires_in": 60}
    )
    provider.metadata |= {
        "pushed_authorization_request_endpoint": provider.url("/par"),
        "require_pushed_authorization_requests": True,
        "require_signed_request_object": True,
        "authorization_response_iss_parameter_supported": True,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A service with keys for signatures and encryption, at such a provider."""
    folder = tmp_path_factory.mktemp("signing")
    file = folder / "client-keys.json"
    members = [
        {**jose.ec(name="client").as_dict(private=True), "kid": "now", "use": "sig"},
        {**jose.ec(name="next").as_dict(private=True), "kid": "next", "use": "sig"},
        {**ENCRYPTION.as_dict(private=True), "kid": "enc", "use": "enc", "alg": "RSA-OAEP-256"},
    ]
    file.write_text(json.dumps({"keys": members}))
    env = {
        "BFF_CLIENT_KEY_FILE": str(file),
        "BFF_RESPONSE_MODE": "jwt",
        "BFF_ID_TOKEN_ENCRYPTION": "required",
    }
    async with open_rig(folder, env, prepare=offer) as rig:
        yield rig


async def begin(rig: Rig, browser: UserAgent) -> tuple[Begun, Asked]:
    """Begin a login; its request is read out of the request object that was pushed."""
    page = await browser.navigate("/bff/login", follow=False)
    assert page.status == 303, page.text
    pushed = rig.provider.last("/par")
    async with httpx2.AsyncClient(trust_env=False) as client:
        published = (await client.get(f"{rig.service.base_url}/bff/jwks.json")).json()
    signed = verify(pushed.form["request"], "ES256", import_keys(published)[0])
    query = {name: str(value) for name, value in signed.claims.items()}
    query["location"] = page.headers["location"]
    claims = jose.id_claims(
        **{**times(), "iss": rig.provider.issuer, "aud": CLIENT_ID}, nonce=query["nonce"]
    )
    return Begun(f"code-{next(rig.codes)}", query, claims), pushed


def nested(claims: Claims, enc: str = "A128CBC-HS256", **header: object) -> str:
    """Return a token as the provider makes it: signed, then encrypted for us."""
    members: dict[str, Any] = {"kid": "enc", **header}
    return jose.encrypt(jose.sign(claims, kid="one"), ENCRYPTION, enc=enc, **members)


def answer(rig: Rig, begun: Begun, **changes: object) -> Claims:
    """Return the claims of a good answer; None takes one away."""
    claims = {
        "iss": rig.provider.issuer, "aud": CLIENT_ID, "exp": time.time() + 600,
        "code": begun.code, "state": begun.state, **changes,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


async def login(
    rig: Rig,
    respond: Callable[[Claims], str] | None = None,
    mint: Callable[[Claims], str] = nested,
    **changes: object,
) -> Outcome:
    """Go through a login; `respond` makes the answer, `mint` the ID token."""
    async with UserAgent(rig.service.base_url) as browser:
        begun, _ = await begin(rig, browser)
        rig.grants(begun, mint(begun.claims))
        claims = answer(rig, begun, **changes)
        response = respond(claims) if respond else jose.sign(claims, kid="one")
        return await rig.finish(browser, begun, {"response": response})


async def test_fapi2_message_signing_happy_path(signing: Rig) -> None:
    """PAR with a signed request, a signed answer, an encrypted ID token: signed in."""
    rig = signing
    async with UserAgent(rig.service.base_url) as browser:
        begun, pushed = await begin(rig, browser)
        again, _ = await begin(rig, browser)
        rig.grants(begun, nested(begun.claims))
        response = jose.sign(answer(rig, begun), kid="one")
        outcome = await rig.finish(browser, begun, {"response": response})
    assert (outcome.page.status, outcome.signed_in, outcome.reasons) == (200, True, [])
    assert outcome.asked[:1] == ["/token"]
    assert outcome.asked[-1:] == ["/userinfo"]
    assert set(pushed.form) == {
        "client_id", "request", "client_assertion", "client_assertion_type",
    }  # fmt: skip
    assert pushed.body.count(b"client_id=") == 1
    assert "authorization" not in pushed.headers
    assert begun.query["location"].partition("?")[2].startswith("client_id=")
    assert begun.query["location"].count("&") == 1, "only client_id and request_uri"
    assert begun.query["location"] != again.query["location"]
    assert (begun.query["response_mode"], begun.query["aud"]) == ("jwt", rig.provider.issuer)
    assert "sub" not in begun.query
    assert begun.query["jti"] != again.query["jti"]


FORGED: dict[str, tuple[Callable[[Claims], str], str]] = {
    "without-iss": (lambda c: jose.sign({k: v for k, v in c.items() if k != "iss"}, kid="one"),
                    "response_iss"),
    "with-invalid-iss": (lambda c: jose.sign({**c, "iss": c["iss"] + "1"}, kid="one"),
                         "response_iss"),
    "without-aud": (lambda c: jose.sign({k: v for k, v in c.items() if k != "aud"}, kid="one"),
                    "response_aud"),
    "with-invalid-aud": (lambda c: jose.sign({**c, "aud": CLIENT_ID + "1"}, kid="one"),
                         "response_aud"),
    "without-exp": (lambda c: jose.sign({k: v for k, v in c.items() if k != "exp"}, kid="one"),
                    "response_exp"),
    "with-expired-exp": (lambda c: jose.sign({**c, "exp": time.time() - 360}, kid="one"),
                         "response_exp"),
    "with-invalid-sig": (lambda c: jose.sign(c, kid="one")[:-8] + "AAAAAAAA",
                         "response_signature"),
    "signature-is-not-none": (lambda c: jose.forge({"alg": "none"}, c), "response_alg"),
    "signed-by-a-stranger": (lambda c: jose.sign(c, jose.rsa("stranger")), "response_signature"),
    "signed-with-our-name": (lambda c: jose.forge({"alg": "HS256"}, c, CLIENT_ID.encode()),
                             "response_alg"),
    "encrypted-but-not-signed": (
        lambda c: jose.encrypt(json.dumps(c), ENCRYPTION, kid="enc"), "response_not_nested"),
    "for-a-key-that-is-not-ours": (
        lambda c: jose.encrypt(jose.sign(c, kid="one"), jose.rsa("stranger"), kid="enc"),
        "response_decryption"),
    "with-a-code-of-a-strange-type": (lambda c: jose.sign({**c, "code": [c["code"]]}, kid="one"),
                                      "response_parameter"),
    "that-is-a-logout-token": (lambda c: jose.sign(c, kid="one", typ="logout+jwt"),
                               "response_typ"),
    "that-is-empty": (lambda _: "", "no_signed_response"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_fapi2_message_signing_ensure_jarm(signing: Rig, name: str) -> None:
    """ensure-jarm-...-fails: refused by name, and the code is not redeemed."""
    respond, reason = FORGED[name]
    outcome = await login(signing, respond)
    assert (outcome.page.status, outcome.signed_in, outcome.reasons) == (400, False, [reason])
    assert set(outcome.asked) <= {"/jwks", DISCOVERY}


async def test_an_unsigned_answer_is_refused(signing: Rig) -> None:
    """The right code and state, in the open: whoever could see them could have put them there."""
    async with UserAgent(signing.service.base_url) as browser:
        begun, _ = await begin(signing, browser)
        signing.grants(begun, nested(begun.claims))
        for parameters in ({"iss": signing.provider.issuer}, {"error": "access_denied"}):
            outcome = await signing.finish(browser, begun, parameters)
            assert (outcome.reasons, outcome.asked) == (["no_signed_response"], [])
        good = jose.sign(answer(signing, begun), kid="one")
        outcome = await signing.finish(browser, begun, {"response": good})
        assert outcome.signed_in, "and nobody's login was used up by it"


async def test_a_signed_error_ends_the_login(signing: Rig) -> None:
    """`error` counts as soon as it is signed, and only with a state that is ours."""
    outcome = await login(signing, code=None, error="access_denied")
    assert (outcome.reasons, outcome.asked) == (["provider_error_access_denied"], [])
    outcome = await login(signing, state="x" * 43)
    assert (outcome.reasons, outcome.asked) == (["login_unknown"], [])
    outcome = await login(signing, state=None)
    assert (outcome.reasons, outcome.asked) == (["no_state"], [])


async def test_a_signed_answer_is_good_once_and_in_one_browser(signing: Rig) -> None:
    """Neither another browser nor a second time: state is taken, cookie and all."""
    rig = signing
    async with UserAgent(rig.service.base_url) as browser, UserAgent(rig.service.base_url) as evil:
        begun, _ = await begin(rig, browser)
        rig.grants(begun, nested(begun.claims))
        response = {"response": jose.sign(answer(rig, begun), kid="one")}
        outcome = await rig.finish(evil, begun, response)
        assert (outcome.reasons, outcome.asked) == (["no_login_cookie"], [])
        await begin(rig, evil)
        assert (await rig.finish(evil, begun, response)).reasons == ["login_unknown"]
        assert (await rig.finish(browser, begun, response)).signed_in
        assert (await rig.finish(browser, begun, response)).reasons == ["login_unknown"]


async def test_an_encrypted_answer_is_opened(signing: Rig) -> None:
    """Signed and encrypted, for the provider that keeps codes out of histories."""
    outcome = await login(signing, lambda claims: nested(claims, enc="A256GCM"))
    assert (outcome.signed_in, outcome.reasons) == (True, [])


ID_TOKENS: dict[str, tuple[Callable[[Claims], str], str]] = {
    "not encrypted": (lambda c: jose.sign(c, kid="one"), "not_encrypted"),
    "encrypted, not signed": (lambda c: jose.encrypt(json.dumps(c), ENCRYPTION), "not_nested"),
    "encrypted, alg none inside": (
        lambda c: jose.encrypt(jose.forge({"alg": "none"}, c), ENCRYPTION), "alg"),
    "signed by a stranger inside": (
        lambda c: jose.encrypt(jose.sign(c, jose.rsa("stranger"), kid="one"), ENCRYPTION),
        "signature"),
    "with our secret as the key": (
        lambda c: jose.encrypt(jose.sign(c, kid="one"), OctKey.import_key(b"k" * 32), "dir"),
        "encryption_alg"),
    "RSA-OAEP where we said RSA-OAEP-256": (
        lambda c: jose.encrypt(jose.sign(c, kid="one"), ENCRYPTION, "RSA-OAEP"), "encryption_alg"),
    "for a stranger": (
        lambda c: jose.encrypt(jose.sign(c, kid="one"), jose.rsa("stranger")), "decryption"),
    "for a key of another name": (lambda c: nested(c, **{"kid": "now"}), "encryption_key"),
    "compressed": (lambda c: nested(c, zip="DEF"), "encryption_header"),
    "for another client": (lambda c: nested({**c, "aud": "other"}), "aud"),
}  # fmt: skip


@pytest.mark.parametrize("name", ID_TOKENS)
async def test_a_bad_nested_id_token_makes_no_session(signing: Rig, name: str) -> None:
    """Encryption proves nothing: what is inside is judged like any ID token (Core 3.1.3.7)."""
    mint, reason = ID_TOKENS[name]
    outcome = await login(signing, mint=mint)
    assert (outcome.page.status, outcome.signed_in, outcome.reasons) == (400, False, [reason])
    assert set(outcome.asked) <= {"/token", "/jwks", DISCOVERY}


async def test_userinfo_may_be_signed_and_encrypted(signing: Rig) -> None:
    """oidcc-client-test-userinfo-signed: `iss`, `aud` and `sub` are checked, encrypted or not."""
    rig = signing
    good = {"iss": rig.provider.issuer, "aud": CLIENT_ID, "sub": "alice", "name": "Alice"}
    plain, kept = jose.sign(good, kid="one"), rig.provider.answers["/userinfo"]
    cases = {
        plain: [],
        jose.encrypt(plain, ENCRYPTION): [],
        jose.encrypt(json.dumps(good), ENCRYPTION): ["not_nested"],
        jose.sign(good, jose.rsa("stranger"), kid="one"): ["signature"],
        jose.forge({"alg": "none"}, good): ["alg"],
        nested({**good, "sub": "mallory"}): ["userinfo_sub"],
        nested({**good, "aud": "other"}): ["userinfo_aud"],
        nested({**good, "iss": "https://evil.example"}): ["userinfo_iss"],
    }
    try:
        for body, reasons in cases.items():
            said = Answer(body=body.encode(), content_type="application/jwt; charset=utf-8")
            rig.provider.answers["/userinfo"] = said
            outcome = await login(rig)
            assert (outcome.reasons, outcome.signed_in) == (reasons, not reasons)
    finally:
        rig.provider.answers["/userinfo"] = kept


async def test_an_encrypted_logout_token_signs_out(signing: Rig) -> None:
    """Where ID tokens are encrypted logout tokens are too (Back-Channel Logout 2.4)."""
    rig = signing
    async with UserAgent(rig.service.base_url) as browser:
        begun, _ = await begin(rig, browser)
        rig.grants(begun, nested({**begun.claims, "sid": "encrypted-sid"}))
        response = jose.sign(answer(rig, begun), kid="one")
        assert (await rig.finish(browser, begun, {"response": response})).signed_in
        claims = jose.logout_claims(
            **{**times(120), "iss": rig.provider.issuer, "aud": CLIENT_ID, "sub": None},
            sid="encrypted-sid", jti="encrypted",
        )  # fmt: skip
        signed = jose.sign(claims, kid="one", typ="logout+jwt")
        for bad in (
            signed,
            jose.encrypt(json.dumps(claims), ENCRYPTION),
            jose.encrypt(signed, jose.rsa("stranger")),
            jose.encrypt(jose.sign(claims, jose.rsa("stranger"), kid="one"), ENCRYPTION),
        ):
            assert (await post_logout_token(rig, bad)).status_code == 400
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is True
        good = jose.encrypt(signed, ENCRYPTION, kid="enc")
        assert (await post_logout_token(rig, good)).status_code == 200
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is False


async def test_the_hint_at_sign_out_is_what_was_inside(signing: Rig) -> None:
    """`id_token_hint` is the signed token, which the provider can read (RP-Initiated Logout 2)."""
    rig = signing
    async with UserAgent(rig.service.base_url) as browser:
        begun, _ = await begin(rig, browser)
        inner = jose.sign(begun.claims, kid="one")
        rig.grants(begun, jose.encrypt(inner, ENCRYPTION))
        response = jose.sign(answer(rig, begun), kid="one")
        assert (await rig.finish(browser, begun, {"response": response})).signed_in
        url = (await browser.fetch("/bff/logout", method="POST")).json()["logout_url"]
        page = await browser.navigate(url, follow=False)
        assert f"id_token_hint={inner}" in page.headers["location"]


async def test_a_refreshed_id_token_is_opened_too(signing: Rig) -> None:
    """After a refresh, and another one, the hint is still what the provider can read."""
    rig = signing
    async with UserAgent(rig.service.base_url) as browser:
        begun, _ = await begin(rig, browser)
        rig.grants(begun, nested(begun.claims), refresh_token="first-refresh-token")
        response = jose.sign(answer(rig, begun), kid="one")
        assert (await rig.finish(browser, begun, {"response": response})).signed_in
        members = {"access_token": "at", "token_type": "Bearer", "expires_in": 300}
        renewed = {**begun.claims, "iat": int(time.time()), "renewed": True}
        rig.plans["first-refresh-token"] = Answer(
            body={**members, "id_token": nested(renewed), "refresh_token": "second-refresh-token"}
        )
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        bad = jose.sign(renewed, kid="one")
        rig.plans["second-refresh-token"] = Answer(body={**members, "id_token": bad})
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 503
        rig.plans["second-refresh-token"] = Answer(body={**members, "id_token": nested(renewed)})
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is True
        url = (await browser.fetch("/bff/logout", method="POST")).json()["logout_url"]
        page = await browser.navigate(url, follow=False)
        assert f"id_token_hint={jose.sign(renewed, kid='one')}" in page.headers["location"]


async def test_the_keys_are_published_for_rotation(signing: Rig) -> None:
    """All keys for signatures, one for encryption, with their uses; nothing private."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answered = await client.get(f"{signing.service.base_url}/bff/jwks.json")
    keys = answered.json()["keys"]
    assert [(one["kid"], one["use"]) for one in keys] == [
        ("now", "sig"), ("next", "sig"), ("enc", "enc"),
    ]  # fmt: skip
    for one in keys:
        assert one.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}
    assert answered.headers["cache-control"] == "public, max-age=300"
