"""The calls that carry our client authentication, and userinfo: what goes out, what comes of it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.grants import InvalidGrantError, RefusedError
from bff.oidc.keys import BadTokenError, import_keys, verify
from bff.oidc.provider import Provider
from bff.oidc.token_target import TokenTarget
from tests.support.jose import forge, rsa, sign
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import DISCOVERY, Answer, ScriptedProvider

GRANTED = Answer(
    body={"access_token": "at", "token_type": "Bearer", "expires_in": 300, "refresh_token": "rt"}
)


async def test_a_code_is_redeemed(make_provider: MakeProvider, scripted: ScriptedProvider) -> None:
    """Code, verifier and redirect URI go out with our authentication; the grant comes back."""
    scripted.answers["/token"] = GRANTED
    redirect_uri = "https://app.example.com/bff/callback"
    grant = await token_endpoint.exchange(make_provider(), "c+/=%", "v" * 43, redirect_uri)
    assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("at", "rt", 300)
    asked = scripted.last("/token")
    assert asked.method == "POST"
    assert asked.form == {
        "grant_type": "authorization_code", "code": "c+/=%", "code_verifier": "v" * 43,
        "redirect_uri": redirect_uri,
    }  # fmt: skip
    pair = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair.startswith("my-spa:")


async def test_a_refresh_token_is_sent_byte_for_byte(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A token of odd characters arrives as it is, and no scope is asked for."""
    scripted.answers["/token"] = GRANTED
    odd = "".join(map(chr, range(0x20, 0x7F)))
    await token_endpoint.refresh(make_provider(), odd)
    assert scripted.last("/token").form == {"grant_type": "refresh_token", "refresh_token": odd}


async def test_a_refresh_names_a_resource(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """The access token that comes is for that one alone (RFC 8707)."""
    scripted.answers["/token"] = GRANTED
    await token_endpoint.refresh(make_provider(), "rt", "https://api.example/a?b")
    assert scripted.last("/token").form["resource"] == "https://api.example/a?b"


async def test_a_pushed_request_names_every_resource(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Each is a parameter of its own there too."""
    scripted.answers["/par"] = Answer(201, {"request_uri": "urn:x", "expires_in": 60})
    parameters = {"client_id": "my-spa", "resource": "https://a https://b"}
    await token_endpoint.push(make_provider(), scripted.url("/par"), parameters)
    pairs = parse_qsl(scripted.last("/par").body.decode())
    assert [value for name, value in pairs if name == "resource"] == ["https://a", "https://b"]


ACCESS = "urn:ietf:params:oauth:token-type:access_token"
TARGET = TokenTarget(exchange=True, audience="orders", scope="orders:read")


@pytest.mark.parametrize("issued", [ACCESS, "urn:ietf:params:oauth:token-type:jwt"])
async def test_an_access_token_is_exchanged(
    make_provider: MakeProvider, scripted: ScriptedProvider, issued: str
) -> None:
    """What is asked, what it is for, and what comes back (RFC 8693 section 2)."""
    scripted.answers["/token"] = Answer(body={**GRANTED.body, "issued_token_type": issued})
    grant = await token_endpoint.exchange_token(make_provider(), "subject", TARGET)
    assert grant.access_token == "at"
    assert scripted.last("/token").form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "subject", "subject_token_type": ACCESS, "requested_token_type": ACCESS,
        "audience": "orders", "scope": "orders:read",
    }  # fmt: skip


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"issued_token_type": 1},
        {"issued_token_type": ACCESS, "token_type": "N_A"},
    ],
)
async def test_what_is_no_access_token_is_not_sent_as_one(
    make_provider: MakeProvider, scripted: ScriptedProvider, members: dict[str, Any]
) -> None:
    """An exchange may give anything; only an access token goes to an upstream."""
    scripted.answers["/token"] = Answer(body={**GRANTED.body, **members})
    with pytest.raises(RefusedError):
        await token_endpoint.exchange_token(make_provider(), "subject", TARGET)


@pytest.mark.parametrize("scope", ["", "orders:read a"])
async def test_the_service_gets_a_token_of_its_own(
    make_provider: MakeProvider, scripted: ScriptedProvider, scope: str
) -> None:
    """Client credentials, with a scope where one is wanted."""
    scripted.answers["/token"] = GRANTED
    assert (await token_endpoint.client_credentials(make_provider(), scope)).access_token == "at"
    form = {"grant_type": "client_credentials"}
    assert scripted.last("/token").form == (form | {"scope": scope} if scope else form)


async def test_every_assertion_is_made_anew_for_the_issuer(
    make_provider: MakeProvider, scripted: ScriptedProvider, key_file: Path
) -> None:
    """private_key_jwt at token, revocation and PAR endpoints: aud is the issuer, jti its own."""
    scripted.answers["/token"] = GRANTED
    scripted.answers["/revoke"] = Answer(body={})
    scripted.answers["/par"] = Answer(201, {"request_uri": "urn:x", "expires_in": 60})
    provider = make_provider(client_key_file=key_file, client_secret=None)
    await token_endpoint.refresh(provider, "rt")
    await token_endpoint.refresh(provider, "rt")
    await token_endpoint.revoke(provider, "rt", "refresh_token")
    await token_endpoint.push(provider, scripted.url("/par"), {"a": "b"})
    assertions = [
        asked.form["client_assertion"] for asked in scripted.asked if asked.method == "POST"
    ]
    keys, _ = import_keys({"keys": provider.published_keys()})
    claims = [verify(assertion, "ES256", keys).claims for assertion in assertions]
    assert [claim["aud"] for claim in claims] == [scripted.issuer] * 4
    assert len({claim["jti"] for claim in claims}) == 4


Call = Callable[[Provider], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "exchange": lambda provider: token_endpoint.exchange(provider, "c", "v", "r"),
    "refresh": lambda provider: token_endpoint.refresh(provider, "rt"),
    "client_credentials": lambda provider: token_endpoint.client_credentials(provider, ""),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_outcomes_are_told_apart(
    make_provider: MakeProvider, scripted: ScriptedProvider, call: Call
) -> None:
    """invalid_grant, another refusal, and no answer are three different things."""
    provider = make_provider()
    for answer, error in (
        (Answer(400, {"error": "invalid_grant"}), InvalidGrantError),
        (Answer(401, {"error": "invalid_client"}), RefusedError),
        (Answer(500, {"error": "invalid_grant"}), ProviderUnavailableError),
        (Answer(200, b"nonsense"), ProviderUnavailableError),
        (Answer(200, b"x" * 100, cut=5), ProviderUnavailableError),
        (Answer(302, {}, headers=(("Location", "/token2"),)), ProviderUnavailableError),
    ):
        scripted.answers["/token"] = answer
        with pytest.raises(error) as caught:
            await call(provider)
        assert isinstance(caught.value, InvalidGrantError) == (error is InvalidGrantError)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_without_discovery_nobody_is_asked(
    make_provider: MakeProvider, scripted: ScriptedProvider, call: Call
) -> None:
    """A secret goes only where discovery says."""
    scripted.answers[DISCOVERY] = Answer(500, {})
    with pytest.raises(ProviderUnavailableError):
        await call(make_provider())
    assert scripted.times("/token") == 0


@pytest.mark.parametrize("status", [200, 201])
async def test_a_request_is_pushed(
    make_provider: MakeProvider, scripted: ScriptedProvider, status: int
) -> None:
    """The parameters go out as a form; the request_uri comes back (RFC 9126)."""
    scripted.answers["/par"] = Answer(status, {"request_uri": "urn:example:1", "expires_in": 60})
    parameters = {"client_id": "my-spa", "state": "s", "login_hint": "caf\u00e9"}
    found = await token_endpoint.push(make_provider(), scripted.url("/par"), parameters)
    assert found == "urn:example:1"
    assert scripted.last("/par").form == parameters
    assert "authorization" in scripted.last("/par").headers


async def test_a_request_is_pushed_by_every_method(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A hint beyond ASCII is no trouble for secrets in the form either."""
    scripted.answers["/par"] = Answer(201, {"request_uri": "urn:example:1"})
    for method in ("client_secret_post", "none", "client_secret_jwt"):
        provider = make_provider(client_auth=method)
        await token_endpoint.push(provider, scripted.url("/par"), {"login_hint": "caf\u00e9"})
        assert scripted.last("/par").form["login_hint"] == "caf\u00e9"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(500, {"request_uri": "urn:x"}), "par_500"),
        (Answer(429, {}), "par_429"),
        (Answer(400, {"error": "invalid_request"}), "par_invalid_request"),
        (Answer(401, {"error": "invalid_client"}), "par_invalid_client"),
        (Answer(400, {"error": "invalid_request_object"}), "par_invalid_request_object"),
        (Answer(400, {"error": "\x1b[31m"}), "par_refused"),
        (Answer(400, {"error": ["invalid_client"]}), "par_refused"),
        (Answer(302, {"request_uri": "urn:x"}), "par_refused"),
        (Answer(201, {}), "par_refused"),
        (Answer(201, {"request_uri": ""}), "par_refused"),
        (Answer(201, {"request_uri": 7}), "par_refused"),
        (Answer(201, b"nonsense"), "par_refused"),
    ],
)
async def test_a_push_that_is_refused_means_no_login_now(
    make_provider: MakeProvider, scripted: ScriptedProvider, answer: Answer, reason: str
) -> None:
    """Nothing else is tried in its place."""
    scripted.answers["/par"] = answer
    with pytest.raises(ProviderUnavailableError, match=reason):
        await token_endpoint.push(make_provider(), scripted.url("/par"), {})


async def test_a_token_is_revoked(make_provider: MakeProvider, scripted: ScriptedProvider) -> None:
    """Token and hint go out with our authentication (RFC 7009 2.1)."""
    scripted.answers["/revoke"] = Answer(200, b"")
    await token_endpoint.revoke(make_provider(), "r+t", "refresh_token")
    asked = scripted.last("/revoke")
    assert asked.form == {"token": "r+t", "token_type_hint": "refresh_token"}
    assert "authorization" in asked.headers


async def test_without_a_revocation_endpoint_nothing_happens(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A provider that cannot revoke is left alone."""
    scripted.metadata["revocation_endpoint"] = None
    await token_endpoint.revoke(make_provider(), "rt", "refresh_token")
    assert [asked.target for asked in scripted.asked] == [DISCOVERY]


@pytest.mark.parametrize(
    ("status", "error"),
    [*((status, RefusedError) for status in (204, 302, 400, 401, 404)),
     *((status, ProviderUnavailableError) for status in (408, 429, 500, 503))],
)  # fmt: skip
async def test_only_200_says_that_a_token_is_gone(
    make_provider: MakeProvider, scripted: ScriptedProvider, status: int, error: type[Exception]
) -> None:
    """A refusal is told from a provider that may be asked again (RFC 7009 2.2.1)."""
    scripted.answers["/revoke"] = Answer(status, {})
    with pytest.raises(error, match=f"revocation_{status}"):
        await token_endpoint.revoke(make_provider(), "rt", "refresh_token")


async def ask_userinfo(provider: Provider, scripted: ScriptedProvider) -> dict[str, Any]:
    """Ask for the claims of alice."""
    return await token_endpoint.userinfo(provider, scripted.url("/userinfo"), "a-t", "alice")


async def test_userinfo_tells_of_the_user(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """The access token goes out as a bearer; the claims come back."""
    scripted.answers["/userinfo"] = Answer(
        body={"sub": "alice", "name": "A"}, content_type="application/json; charset=utf-8"
    )
    provider = make_provider()
    assert await ask_userinfo(provider, scripted) == {"sub": "alice", "name": "A"}
    assert scripted.last("/userinfo").headers["authorization"] == "Bearer a-t"


def signed(scripted: ScriptedProvider, **changes: object) -> Answer:
    """Return a userinfo answer as a signed JWT."""
    claims = {"iss": scripted.issuer, "aud": "my-spa", "sub": "alice", "name": "A", **changes}
    return Answer(body=sign(claims, kid="one").encode(), content_type="Application/JWT")


async def test_signed_userinfo_is_verified(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A JWT answer counts if the provider signed it for us (OIDC Core 5.3.2)."""
    provider = make_provider()
    for audience in ("my-spa", ["my-spa"]):
        scripted.answers["/userinfo"] = signed(scripted, aud=audience)
        assert (await ask_userinfo(provider, scripted))["name"] == "A"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"iss": "https://other.example"}, "userinfo_iss"), ({"iss": None}, "userinfo_iss"),
     ({"aud": "other"}, "userinfo_aud"), ({"aud": ["my-spa", "other"]}, "userinfo_aud"),
     ({"aud": None}, "userinfo_aud"), ({"sub": "alicex"}, "userinfo_sub")],
)  # fmt: skip
async def test_signed_userinfo_for_others_is_refused(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    changes: dict[str, object],
    reason: str,
) -> None:
    """Issuer, audience and subject must be ours."""
    scripted.answers["/userinfo"] = signed(scripted, **changes)
    with pytest.raises(BadTokenError, match=reason):
        await ask_userinfo(make_provider(), scripted)


async def test_userinfo_signed_by_nobody_is_refused(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Unsigned, wrongly signed and malformed JWTs are refused."""
    provider = make_provider()
    claims = {"iss": scripted.issuer, "aud": "my-spa", "sub": "alice"}
    for token in (forge({"alg": "none"}, claims), sign(claims, rsa("evil"), kid="one"), "x"):
        scripted.answers["/userinfo"] = Answer(body=token.encode(), content_type="application/jwt")
        with pytest.raises(BadTokenError):
            await ask_userinfo(provider, scripted)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"sub": "aliceinvalid"}, "userinfo_sub"),
        ({"sub": "Alice"}, "userinfo_sub"),
        ({"sub": ""}, "userinfo_sub"),
        ({"sub": 7}, "userinfo_sub"),
        ({"sub": ["alice"]}, "userinfo_sub"),
        ({"name": "A"}, "userinfo_sub"),
        (b'{"sub":"alice","sub":"mallory"}', "userinfo_not_json"),
        (b'{"sub":"mallory","sub":"alice"}', "userinfo_not_json"),
        (b'{"sub":"\\ud800"}', "userinfo_not_json"),
        (b"", "userinfo_not_json"),
        ([], "userinfo_not_json"),
    ],
)
async def test_userinfo_about_somebody_else_is_refused(
    make_provider: MakeProvider, scripted: ScriptedProvider, body: Any, reason: str
) -> None:
    """The answer's subject must be the ID token's (OIDC Core 5.3.2)."""
    scripted.answers["/userinfo"] = Answer(body=body)
    with pytest.raises(BadTokenError, match=reason):
        await ask_userinfo(make_provider(), scripted)


@pytest.mark.parametrize("status", [201, 204, 302, 400, 401, 403, 404])
async def test_userinfo_that_is_refused_is_no_userinfo(
    make_provider: MakeProvider, scripted: ScriptedProvider, status: int
) -> None:
    """Any other status fails the login."""
    scripted.answers["/userinfo"] = Answer(status, {"sub": "alice"})
    with pytest.raises(BadTokenError, match=f"userinfo_{status}"):
        await ask_userinfo(make_provider(), scripted)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_userinfo_of_a_provider_that_is_not_well(
    make_provider: MakeProvider, scripted: ScriptedProvider, status: int
) -> None:
    """A provider in trouble is told from one that refuses."""
    scripted.answers["/userinfo"] = Answer(status, {"sub": "alice"})
    with pytest.raises(ProviderUnavailableError, match=f"userinfo_{status}"):
        await ask_userinfo(make_provider(), scripted)
