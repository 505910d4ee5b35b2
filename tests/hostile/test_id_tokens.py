"""Poisoned ID tokens: the modules of the Basic RP plan, and the traps of ID tokens.

Whatever is wrong, the login fails before the userinfo endpoint is called, nobody is signed in, the
browser is told nothing of why, and the log names the reason.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.hostile.rig import CLIENT_ID, CLIENT_SECRET, Begun, Mint, Rig, signed_with_any_header
from tests.support import jose
from tests.support.scripted_provider import Answer
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True)
class Poison:
    """What is changed in a good ID token, and the reason that must be logged."""

    reason: str
    claims: tuple[tuple[str, Any], ...] = ()
    header: tuple[tuple[str, Any], ...] = ()

    def mint(self, begun: Begun) -> str:
        """Return the poisoned token; a callable makes the value from the good one."""
        claims = dict(begun.claims)
        for name, value in self.claims:
            claims[name] = value(claims.get(name)) if callable(value) else value
        kept = {name: value for name, value in claims.items() if value is not None}
        return signed_with_any_header(dict(self.header), kept)


def claim(reason: str, **claims: Any) -> Poison:
    """Return a poison of claims."""
    return Poison(reason, tuple(claims.items()))


def header(reason: str, **members: Any) -> Poison:
    """Return a poison of header members."""
    return Poison(reason, (), tuple(members.items()))


def appended(value: Any) -> Any:
    """Return a value that is nearly the right one."""
    return f"{value}1"


def forging(alg: str, secret: bytes = b"") -> Mint:
    """Return what makes a token that is unsigned, or under an HMAC."""
    return lambda begun: jose.forge({"alg": alg, "kid": "one"}, begun.claims, secret)


POISONS = {
    "oidcc-client-test-invalid-iss": claim("iss", iss=appended),
    "oidcc-client-test-missing-sub": claim("sub", sub=None),
    "oidcc-client-test-invalid-aud": claim("aud", aud=appended),
    "oidcc-client-test-missing-iat": claim("iat", iat=None),
    "oidcc-client-test-nonce-invalid": claim("nonce", nonce=appended),
    "T4 another audience with our azp": claim("aud", aud="other", azp=CLIENT_ID),
    "T4 a second audience with our azp": claim("aud", aud=[CLIENT_ID, "evil"], azp=CLIENT_ID),
    "T9 issuer without its slash": claim("iss", iss=lambda iss: iss.removesuffix("/")),
    "another azp": claim("azp", azp="other"),
    "oidcc-client-test-missing-aud": claim("aud", aud=None),
    "an empty aud": claim("aud", aud=[]),
    "no iss": claim("iss", iss=None),
    "no exp": claim("exp", exp=None),
    "no nonce": claim("nonce", nonce=None),
    "a nonce that is no string": claim("nonce", nonce=[1]),
    "expired": claim("exp", exp=lambda exp: exp - 400),
    "exp as text": claim("exp", exp="9999999999"),
    "exp true": claim("exp", exp=True),
    "issued in the future": claim("iat", iat=lambda iat: iat + 120),
    "issued long ago": claim("iat_old", iat=lambda iat: iat - 700),
    "not valid yet": claim("nbf", nbf=lambda _: time.time() + 120),
    "an empty sub": claim("sub", sub=""),
    "a sub that is no string": claim("sub", sub=7),
    "a sub too long": claim("sub", sub="a" * 256),
    "oidcc-client-test-invalid-athash": claim("at_hash", at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "oidcc-client-test-invalid-chash": claim("c_hash", c_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "an invalid s_hash": claim("s_hash", s_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "a logout token": claim("events", events={jose.LOGOUT_EVENT: {}}),
    "typ logout+jwt": header("typ", typ="logout+jwt"),
    "typ at+jwt": header("typ", typ="at+jwt"),
    "typ dpop+jwt": header("typ", typ="dpop+jwt"),
    "crit": header("crit", crit=["exp"]),
    "b64": header("crit", b64=False),
    "kid that is no string": header("kid", kid=["one"]),
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS.keys())
async def test_a_poisoned_id_token_makes_no_session(rig: Rig, poison: Poison) -> None:
    """400 `login_failed`, no userinfo call (T17), the reason in the log and nowhere else."""
    outcome = await rig.login(poison.mint)
    assert outcome.reasons == [poison.reason]
    assert (outcome.page.status, outcome.signed_in) == (400, False)
    assert outcome.asked == ["/token"]
    assert "login_failed" in outcome.page.text
    assert "set-cookie" not in outcome.page.headers


async def test_oidcc_client_test_idtoken_sig_none(rig: Rig) -> None:
    """An unsigned token is refused although the metadata offers `none` first (T3)."""
    for alg in ("none", "None", "NONE", ""):
        outcome = await rig.login(forging(alg))
        assert (outcome.reasons, outcome.asked, outcome.signed_in) == (["alg"], ["/token"], False)


async def test_oidcc_client_test_invalid_sig_rs256(rig: Rig) -> None:
    """A corrupted signature, and none at all, are refused before userinfo."""

    def corrupted(begun: Begun) -> str:
        token = jose.sign(begun.claims, kid="one")
        signed, _, signature = token.rpartition(".")
        first, *others = jose.unb64(signature)
        return f"{signed}.{jose.b64(bytes([first ^ 1, *others]))}"

    for mint in (corrupted, lambda begun: jose.forge({"alg": "RS256", "kid": "one"}, begun.claims)):
        outcome = await rig.login(mint)
        assert (outcome.reasons, outcome.signed_in) == (["signature"], False)
        assert "/userinfo" not in outcome.asked


async def test_keys_named_by_the_token_are_never_used(rig: Rig) -> None:
    """`jwk`, `jku`, `x5u` and a confused HMAC with the public key prove nothing."""
    attacker = jose.rsa("attacker")
    urls = {"jku": rig.provider.url("/evil"), "x5u": rig.provider.url("/evil")}
    outcome = await rig.login(
        lambda begun: jose.sign(begun.claims, attacker, kid="one", jwk=jose.jwk(attacker), **urls)
    )
    assert (outcome.reasons, outcome.signed_in) == (["signature"], False)
    assert "/evil" not in outcome.asked
    pem = jose.rsa().as_pem(private=False)
    for secret in (pem, CLIENT_SECRET.encode()):
        outcome = await rig.login(forging("HS256", secret))
        assert (outcome.reasons, outcome.asked, outcome.signed_in) == (["alg"], ["/token"], False)


@pytest.mark.parametrize(
    "raw",
    [
        " ",
        "a.b",
        "a.b.c.d.e",
        "....",
        "é.é.é",
        "e30.e30.",
        "null.null.null",
        "W10.W10.x",
        "a" * 70_000,
    ],
)
async def test_what_is_no_token_at_all_is_refused(rig: Rig, raw: str) -> None:
    """400, whatever it is; no exception of a library reaches the browser."""
    outcome = await rig.login(lambda _: raw)
    assert (outcome.page.status, outcome.signed_in) == (400, False)
    assert "/userinfo" not in outcome.asked


async def test_a_doubled_member_is_refused(rig: Rig) -> None:
    """A payload that two parsers read differently is nobody's."""

    def doubled(begun: Begun) -> str:
        claims = json.dumps(begun.claims).encode()
        return jose.sign(claims[:-1] + b', "sub": "admin"}', kid="one")

    outcome = await rig.login(doubled)
    assert (outcome.reasons, outcome.signed_in) == (["payload"], False)


async def test_oidcc_client_test_userinfo_invalid_sub(rig: Rig) -> None:
    """Userinfo about somebody else ends the login; its values are used for nothing."""
    good = rig.provider.answers["/userinfo"]
    try:
        for body in ({"sub": "aliceinvalid", "name": "Eve"}, {"name": "Eve"}, {"sub": ["alice"]}):
            rig.provider.answers["/userinfo"] = Answer(body=body)
            outcome = await rig.login()
            assert (outcome.reasons, outcome.signed_in) == (["userinfo_sub"], False)
            assert outcome.asked == ["/token", "/userinfo"]
    finally:
        rig.provider.answers["/userinfo"] = good


@pytest.mark.parametrize(
    ("options", "claims", "reason"),
    [
        ("?max_age=60", {}, "max_age"),
        ("?max_age=60", {"auth_time": time.time() - 3600}, "max_age"),
        ("?max_age=0", {"auth_time": time.time() - 3600}, "max_age"),
        ("?max_age=60", {"auth_time": "now"}, "auth_time"),
        ("", {"auth_time": True}, "auth_time"),
        ("?acr_values=strong", {}, "acr"),
        ("?acr_values=strong", {"acr": "weak"}, "acr"),
        ("?acr_values=strong+stronger", {"acr": ["strong"]}, "acr"),
    ],
)
async def test_what_was_asked_for_must_be_what_came(
    rig: Rig, options: str, claims: dict[str, Any], reason: str
) -> None:
    """`max_age` and `acr_values` are checked on return (OIDC Core 3.1.3.7, 12 and 13)."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser, options)
        rig.grants(begun, jose.sign({**begun.claims, **claims}, kid="one"))
        outcome = await rig.finish(browser, begun)
    assert (outcome.reasons, outcome.asked) == ([reason], ["/token"])
    assert (outcome.page.status, outcome.signed_in) == (400, False)


async def test_what_was_asked_for_and_came_is_accepted(rig: Rig) -> None:
    """A fresh `auth_time` and one of the wanted `acr` values pass."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser, "?max_age=0&acr_values=strong+stronger")
        claims = {**begun.claims, "auth_time": int(time.time()), "acr": "stronger"}
        rig.grants(begun, jose.sign(claims, kid="one"))
        assert (await rig.finish(browser, begun)).signed_in


async def test_a_failed_login_leaves_the_session_there_was(rig: Rig) -> None:
    """Alice stays signed in, with the session she had, when a second login goes wrong."""
    async with UserAgent(rig.service.base_url) as browser:
        begun = await rig.begin(browser)
        rig.grants(begun)
        assert (await rig.finish(browser, begun)).signed_in
        before = (await browser.fetch("/bff/session")).json()
        begun = await rig.begin(browser, sub="eve")
        rig.grants(begun, jose.sign({**begun.claims, "nonce": "x"}, kid="one"))
        assert (await rig.finish(browser, begun)).page.status == 400
        after = (await browser.fetch("/bff/session")).json()
        assert after["session"]["id"] == before["session"]["id"]
        assert after["user"]["sub"] == "alice"
