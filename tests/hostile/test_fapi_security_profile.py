"""FAPI 2.0 Security Profile with private_key_jwt and DPoP: what to send, accept and refuse.

The names are those of the modules after `fapi2-security-profile-final-client-test-`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.hostile.fapi import Fapi
from tests.hostile.rig import CLIENT_ID, Begun, Outcome
from tests.support import jose
from tests.support.scripted_provider import DISCOVERY, Answer, Asked
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")

Claims = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="session")
async def browser(fapi: Fapi) -> AsyncIterator[UserAgent]:
    """A browser; the provider must have found nothing wrong with what came meanwhile."""
    async with UserAgent(fapi.rig.service.base_url) as browser:
        yield browser
    assert fapi.all_faults() == []


async def login(
    fapi: Fapi,
    browser: UserAgent,
    mint: Callable[[Claims], str] | None = None,
    answer: dict[str, str | None] | None = None,
    **members: Any,
) -> tuple[Begun, Outcome]:
    """Go through a login; `answer` changes the parameters that come back."""
    begun = await fapi.rig.begin(browser)
    fapi.rig.grants(begun, mint(begun.claims) if mint else None, **members)
    given = {"iss": fapi.rig.provider.issuer, **(answer or {})}
    return begun, await fapi.rig.finish(browser, begun, given)


def changed(fapi: Fapi, **changes: Any) -> Callable[[Claims], str]:
    """Return what signs claims with changes; None takes one away, a callable makes the new one."""

    def mint(claims: Claims) -> str:
        new = {
            name: change(claims[name]) if callable(change) else change
            for name, change in changes.items()
        }
        merged = {**claims, **new}
        return fapi.rig.sign({name: value for name, value in merged.items() if value is not None})

    return mint


async def test_happy_path(fapi: Fapi, browser: UserAgent) -> None:
    """Pushed, with an assertion of its own each time; signed in; the token is used at the API."""
    page = await browser.navigate("/bff/login", follow=False)
    fapi.check_redirect(page.headers["location"])
    begun, outcome = await login(fapi, browser)
    assert (outcome.page.status, outcome.signed_in, outcome.reasons) == (200, True, [])
    assert (outcome.asked[0], outcome.asked[-1]) == ("/token", "/userinfo")
    fapi.api.answers["/api/accounts"] = fapi.guarded(fapi.at_api, Answer(body={"ok": True}))
    assert (await browser.fetch("/api/accounts")).status_code == 200
    sent = fapi.api.last("/api/accounts")
    assert sent.headers["authorization"] == f"DPoP access-{begun.code}"
    assert "access-" not in sent.target


async def test_the_published_keys_hold_nothing_private(fapi: Fapi, browser: UserAgent) -> None:
    """Names differ, and no private member is there."""
    keys = fapi.published["keys"]
    assert len({one["kid"] for one in keys}) == len(keys)
    assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & {
        name for one in keys for name in one
    }


async def test_every_login_is_pushed_anew(fapi: Fapi, browser: UserAgent) -> None:
    """A `request_uri` is never used twice, and neither is anything in it (RFC 9126 5)."""
    begun = [await fapi.rig.begin(browser) for _ in range(3)]
    for name in ("state", "nonce", "code_challenge", "client_assertion"):
        assert len({one.query[name] for one in begun}) == 3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "invalid-iss": ({"iss": lambda iss: f"{iss}1"}, "iss"),
    "invalid-missing-iss": ({"iss": None}, "iss"),
    "invalid-aud": ({"aud": lambda aud: f"{aud}1"}, "aud"),
    "invalid-missing-aud": ({"aud": None}, "aud"),
    "invalid-secondary-aud": ({"aud": [CLIENT_ID, f"{CLIENT_ID}1"]}, "aud"),
    "invalid-expired-exp": ({"exp": lambda exp: exp - 300 - 360}, "exp"),
    "invalid-missing-exp": ({"exp": None}, "exp"),
    "invalid-nonce": ({"nonce": lambda nonce: f"{nonce}1"}, "nonce"),
    "invalid-missing-nonce": ({"nonce": None}, "nonce"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_poisoned_id_token(
    fapi: Fapi, browser: UserAgent, changes: dict[str, Any], reason: str
) -> None:
    """Refused by name; neither userinfo nor the API is called with what came beside it."""
    _, outcome = await login(fapi, browser, changed(fapi, **changes))
    assert (outcome.reasons, outcome.signed_in) == ([reason], False)
    assert (outcome.page.status, set(outcome.asked)) == (400, {"/token"})


SIGNED: dict[str, tuple[Callable[[Claims], str], str]] = {
    "invalid-null-alg": (lambda c: jose.forge({"alg": "none", "kid": "one"}, c), "alg"),
    "invalid-alternate-alg": (lambda c: jose.sign(c, alg="RS256", kid="one"), "alg"),
    "an alternate alg with the key of that name": (
        lambda c: jose.sign(c, jose.ec(), "ES256", kid="one"), "alg"),
    "a decoy with the name of the key": (
        lambda c: jose.sign(c, jose.rsa("decoy"), "PS256", kid="one"), "signature"),
    "a key for encryption": (
        lambda c: jose.sign(c, jose.rsa("encryption"), "PS256", kid="one"), "signature"),
}  # fmt: skip


@pytest.mark.parametrize(("mint", "reason"), SIGNED.values(), ids=SIGNED.keys())
async def test_a_poisoned_signature(
    fapi: Fapi, browser: UserAgent, mint: Callable[[Claims], str], reason: str
) -> None:
    """Only the registered algorithm, with a key that is for it."""
    _, outcome = await login(fapi, browser, mint)
    assert (outcome.reasons, outcome.signed_in) == ([reason], False)
    assert set(outcome.asked) <= {"/token", "/jwks", DISCOVERY}


async def test_valid_aud_as_array(fapi: Fapi, browser: UserAgent) -> None:
    """An array with us alone is us."""
    _, outcome = await login(fapi, browser, changed(fapi, aud=[CLIENT_ID]))
    assert outcome.signed_in


async def test_token_endpoint_response_without_expires_in(fapi: Fapi, browser: UserAgent) -> None:
    """`expires_in` may be absent (T20)."""
    _, outcome = await login(fapi, browser, expires_in=None)
    assert outcome.signed_in


ANSWERS: dict[str, tuple[dict[str, str | None], str]] = {
    "invalid-authorization-response-iss": ({"iss": "https://evil.example/"}, "iss_mismatch"),
    "remove-authorization-response-iss": ({"iss": None}, "iss_missing"),
    "ensure-authorization-response-with-invalid-state-fails": (
        {"state": "x" * 43}, "login_unknown"),
    "ensure-authorization-response-with-invalid-missing-state-fails": ({"state": None}, "no_state"),
    "an error without iss": ({"iss": None, "error": "access_denied"}, "iss_missing"),
    "an error of another provider": (
        {"iss": "https://evil.example/", "error": "access_denied"}, "iss_mismatch"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_poisoned_answer(
    fapi: Fapi, browser: UserAgent, answer: dict[str, str | None], reason: str
) -> None:
    """Refused before the code is redeemed; the login itself is not used up by it."""
    begun, outcome = await login(fapi, browser, answer=answer)
    assert (outcome.reasons, outcome.asked, outcome.signed_in) == ([reason], [], False)
    assert outcome.page.status == 400
    good = await fapi.rig.finish(browser, begun, {"iss": fapi.rig.provider.issuer})
    assert good.signed_in


async def test_client_refresh_token_test(fapi: Fapi, browser: UserAgent) -> None:
    """The API says 401 until the token was refreshed twice: each time the newest refresh token."""
    good = ["nothing yet"]

    def api(asked: Asked) -> Answer:
        if asked.headers["authorization"].endswith(f" {good[0]}"):
            return Answer(body={"ok": True})
        challenge = ("WWW-Authenticate", 'Bearer error="invalid_token"')
        return Answer(401, {}, headers=(challenge,))

    fapi.api.answers["/api/slow"] = fapi.guarded(fapi.at_api, api)
    begun, outcome = await login(fapi, browser, refresh_token="%first:refresh token+")
    assert outcome.signed_in
    names = ["%first:refresh token+", "%second:refresh token+", "third"]
    for number, (old, new) in enumerate(itertools.pairwise(names)):
        claims = {**begun.claims, "iat": int(time.time())}
        body = {
            "access_token": f"renewed-{number}", "token_type": "dpop", "expires_in": 300,
            "refresh_token": new, "id_token": fapi.rig.sign(claims),
        }  # fmt: skip
        fapi.rig.plans[old] = Answer(body=body)
    before = len(fapi.rig.provider.asked)
    good[0] = "renewed-1"
    first = await browser.fetch("/api/slow")
    assert first.status_code == 401, "refreshed once, and the new token was refused too"
    assert (await browser.fetch("/bff/session")).json()["authenticated"] is True
    assert (await browser.fetch("/api/slow")).status_code == 200
    forms = [one.form for one in fapi.rig.provider.asked[before:] if one.target == "/token"]
    sent = [form["refresh_token"] for form in forms]
    assert list(dict.fromkeys(sent)) == names[:2]


async def test_happy_path_no_dpop_nonce(fapi: Fapi, browser: UserAgent) -> None:
    """Where no server wants a nonce, one request of each kind does."""
    for judge in fapi.judges:
        judge.demands = False
    try:
        _, outcome = await login(fapi, browser)
    finally:
        for judge in fapi.judges:
            judge.demands = True
    assert (outcome.signed_in, outcome.asked) == (True, ["/token", "/userinfo"])


async def test_token_type_case_insensitivity(fapi: Fapi, browser: UserAgent) -> None:
    """`dPOP` is DPoP (T20)."""
    _, outcome = await login(fapi, browser, token_type="dPOP")
    assert outcome.signed_in


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "N_A", "DPoP "])
async def test_a_token_that_is_not_bound(fapi: Fapi, browser: UserAgent, token_type: str) -> None:
    """Where tokens must be bound, one that is not is not used (RFC 9449 5)."""
    _, outcome = await login(fapi, browser, token_type=token_type)
    assert not outcome.signed_in
    assert set(outcome.asked) == {"/token"}
    assert outcome.reasons in (["token_endpoint_token_not_bound"], ["token_endpoint_token_type"])


async def test_rs_dpop_auth_scheme_case_insensitivity(fapi: Fapi, browser: UserAgent) -> None:
    """The API demands its nonce as `dPoP`: the request is proven again, once, with that nonce."""
    begun, _ = await login(fapi, browser)
    fapi.api.answers["/api/case"] = fapi.guarded(fapi.at_api, Answer(body={"ok": True}))
    fapi.at_api.nonces.clear()
    before = fapi.at_api.demanded
    assert (await browser.fetch("/api/case?a=b", method="POST", json={"a": 1})).status_code == 200
    assert fapi.at_api.demanded == before + 1
    came = [one for one in fapi.api.asked if one.target == "/api/case?a=b"]
    assert [one.body for one in came] == [b'{"a": 1}'] * 2
    assert came[0].headers["dpop"] != came[1].headers["dpop"]
    assert {one.headers["authorization"] for one in came} == {f"DPoP access-{begun.code}"}
