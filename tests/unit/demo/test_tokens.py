from __future__ import annotations

from base64 import b64encode

import httpx2
import pytest

from bff.demo.provider.tokens import at_hash
from tests.unit.demo.driver import (
    AUDIENCE,
    CALLBACK,
    SCOPE,
    SECRET,
    VERIFIER,
    Driver,
    basic,
    make_config,
    make_driver,
)


async def test_a_code_gives_tokens(driver: Driver) -> None:
    """The token answer has everything, may not be stored, and says what was granted."""
    answer = await driver.redeem(await driver.code())
    body = answer.json()
    assert set(body) == {
        "access_token", "token_type", "expires_in", "scope", "id_token", "refresh_token",
    }  # fmt: skip
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, SCOPE)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


async def test_the_id_token(driver: Driver) -> None:
    """The ID token is for the client, with nonce, sid, times and the hash of the access token."""
    tokens = await driver.sign_in()
    token = await driver.verified(tokens["id_token"])
    now = int(driver.clock.now)
    assert token.header["typ"] == "JWT"
    sid = token.claims.pop("sid")
    assert sid
    assert token.claims == {
        "iss": driver.issuer, "sub": "alice", "aud": "app:1", "iat": now, "exp": now + 300,
        "auth_time": now, "nonce": "the nonce", "acr": "urn:demo:acr:basic",
        "at_hash": at_hash(tokens["access_token"]), "name": "Alice Adams",
        "preferred_username": "alice", "roles": ["admin", "user"],
    }  # fmt: skip


def test_at_hash_by_a_known_pair() -> None:
    """The hash is the one of the example in OpenID Connect Core A.3."""
    assert at_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y") == "77QmUPtjPfzWtF2AnpK9RQ"


async def test_the_access_token(driver: Driver) -> None:
    """The access token is an at+jwt for the API's audience (RFC 9068)."""
    token = await driver.verified((await driver.sign_in("bob"))["access_token"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["aud"] == AUDIENCE
    assert token.claims["sub"] == "bob"
    assert token.claims["client_id"] == "app:1"
    assert token.claims["scope"] == SCOPE
    assert token.claims["roles"] == ["user"]
    assert token.claims["exp"] - token.claims["iat"] == 300
    assert token.claims["jti"]


async def test_carol_is_not_granted_orders(driver: Driver) -> None:
    """What a user may not have is left out, and the answer says so."""
    tokens = await driver.sign_in("carol")
    assert tokens["scope"] == "openid profile email offline_access"


async def test_no_refresh_token_without_offline_access(driver: Driver) -> None:
    """Only offline_access gives a refresh token, and unknown scopes are passed over."""
    tokens = await driver.sign_in(scope="openid unknown")
    assert "refresh_token" not in tokens
    assert tokens["scope"] == "openid"


async def test_userinfo_by_scope(driver: Driver) -> None:
    """The userinfo endpoint gives the claims of the granted scopes, sub always."""
    tokens = await driver.sign_in("bob")
    assert (await driver.userinfo(tokens["access_token"])).json() == {
        "sub": "bob", "name": "Bob Brown", "given_name": "Bob", "family_name": "Brown",
        "preferred_username": "bob", "roles": ["user"],
        "email": "bob@example.com", "email_verified": True,
    }  # fmt: skip
    bare = await driver.sign_in(scope="openid")
    assert (await driver.userinfo(bare["access_token"])).json() == {"sub": "bob"}


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "unknown"},
        {"redirect_uri": CALLBACK + "?a=1"},
        {"code_verifier": "w" * 43},
    ],
)
async def test_a_code_is_judged(driver: Driver, changes: dict[str, str]) -> None:
    """Code, redirect_uri and verifier must be those of the request."""
    form = {"code": await driver.code()} | changes
    answer = await driver.redeem(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_wrong_verifier_burns_the_code(driver: Driver) -> None:
    """There is one try for each code."""
    code = await driver.code()
    await driver.redeem(code, code_verifier="w" * 43)
    assert (await driver.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_code_expires(driver: Driver) -> None:
    """After a minute a code is worth nothing."""
    code = await driver.code()
    driver.clock.now += 60
    assert (await driver.redeem(code)).json()["error"] == "invalid_grant"


async def test_another_clients_code_is_refused_and_stays(driver: Driver) -> None:
    """A client cannot use up the code of another."""
    code = await driver.code()
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER, "client_id": "other", "client_secret": "other-secret",
    }  # fmt: skip
    answer = await driver.http.post("/token", data=form)
    assert answer.json()["error"] == "invalid_grant"
    assert (await driver.redeem(code)).status_code == 200


async def test_a_code_used_twice_revokes_its_tokens(driver: Driver) -> None:
    """The second use of a code ends what came of the first."""
    code = await driver.code()
    tokens = (await driver.redeem(code)).json()
    assert (await driver.redeem(code)).json()["error"] == "invalid_grant"
    assert (await driver.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await driver.userinfo(tokens["access_token"])).status_code == 401
    assert (await driver.counters())["reuse_detected.code"] == 1


async def test_refresh_rotates(driver: Driver) -> None:
    """A refresh gives new tokens, of the same sign-in, without a nonce."""
    first = await driver.sign_in()
    driver.clock.now += 250
    second = (await driver.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == SCOPE
    old, new = [(await driver.verified(one["id_token"])).claims for one in (first, second)]
    assert {name: new[name] for name in ("iss", "sub", "aud", "sid", "auth_time")} == {
        name: old[name] for name in ("iss", "sub", "aud", "sid", "auth_time")
    }
    assert new["iat"] == old["iat"] + 250
    assert new["at_hash"] == at_hash(second["access_token"])
    assert "nonce" not in new
    third = await driver.refresh(second["refresh_token"])
    assert third.status_code == 200
    assert (await driver.counters())["token_requests.refresh_token"] == 2


async def test_a_refresh_token_used_twice_revokes_the_family(driver: Driver) -> None:
    """Reuse ends the successor too, and the access tokens at the userinfo endpoint."""
    first = await driver.sign_in()
    second = (await driver.refresh(first["refresh_token"])).json()
    assert (await driver.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await driver.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await driver.userinfo(second["access_token"])).status_code == 401
    assert (await driver.counters())["reuse_detected.refresh_token"] == 1


async def test_another_sign_in_is_another_family(driver: Driver) -> None:
    """Reuse in one family leaves the other alone."""
    mine, other = await driver.sign_in(), await driver.sign_in()
    await driver.refresh(mine["refresh_token"])
    await driver.refresh(mine["refresh_token"])
    assert (await driver.refresh(other["refresh_token"])).status_code == 200


async def test_without_rotation_the_token_stays() -> None:
    """A provider that does not rotate gives the same refresh token back, as often as wanted."""
    driver = make_driver(make_config(rotate=False))
    async with driver.http:
        token = (await driver.sign_in())["refresh_token"]
        for _ in range(3):
            assert (await driver.refresh(token)).json()["refresh_token"] == token


async def test_refresh_may_narrow_but_not_widen(driver: Driver) -> None:
    """Less scope is given, more is refused, and a refused request uses nothing up."""
    token = (await driver.sign_in("carol"))["refresh_token"]
    wide = await driver.refresh(token, scope="openid orders:read")
    assert wide.json()["error"] == "invalid_scope"
    assert (await driver.refresh(token, scope="openid")).json()["scope"] == "openid"


async def test_a_refresh_token_expires(driver: Driver) -> None:
    """After eight hours a refresh token is worth nothing."""
    token = (await driver.sign_in())["refresh_token"]
    driver.clock.now += 8 * 3600
    assert (await driver.refresh(token)).json()["error"] == "invalid_grant"


async def test_another_clients_refresh_token_is_refused(driver: Driver) -> None:
    """A refresh token is bound to its client, and a stranger's try does not use it up."""
    token = (await driver.sign_in())["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    stranger = await driver.http.post("/token", data=form, headers=basic("other", "other-secret"))
    assert stranger.json()["error"] == "invalid_grant"
    assert (await driver.refresh(token)).status_code == 200


async def test_client_credentials(driver: Driver) -> None:
    """A client gets an access token for itself: API scopes only, no ID or refresh token."""
    answer = (await driver.token(grant_type="client_credentials")).json()
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}
    claims = (await driver.verified(answer["access_token"])).claims
    assert (claims["sub"], claims["scope"], claims["roles"]) == ("app:1", "orders:read", [])
    wide = await driver.token(grant_type="client_credentials", scope="openid orders:read")
    assert wide.json()["scope"] == "orders:read"
    assert (await driver.userinfo(answer["access_token"])).status_code == 403


async def test_revoking_a_refresh_token_ends_the_family(driver: Driver) -> None:
    """Revocation reaches every token of the sign-in, also through a token that was used up."""
    first = await driver.sign_in()
    second = (await driver.refresh(first["refresh_token"])).json()
    answer = await revoke(driver, first["refresh_token"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await driver.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await driver.userinfo(second["access_token"])).status_code == 401
    assert "reuse_detected.refresh_token" not in await driver.counters()
    assert (await driver.counters())["revocations.refresh_token"] == 1


async def test_revoking_an_access_token_ends_it_alone(driver: Driver) -> None:
    """The refresh token of a revoked access token still works."""
    tokens = await driver.sign_in()
    assert (await revoke(driver, tokens["access_token"])).status_code == 200
    assert (await driver.userinfo(tokens["access_token"])).status_code == 401
    assert (await driver.refresh(tokens["refresh_token"])).status_code == 200


async def test_revoking_the_unknown_is_fine(driver: Driver) -> None:
    """An unknown token is as good as revoked (RFC 7009 2.2); another client's is refused."""
    assert (await revoke(driver, "unknown")).status_code == 200
    tokens = await driver.sign_in()
    for kind in ("refresh_token", "access_token"):
        answer = await driver.http.post(
            "/revoke", data={"token": tokens[kind]}, headers=basic("other", "other-secret")
        )
        assert answer.json()["error"] == "invalid_grant"
    assert (await driver.refresh(tokens["refresh_token"])).status_code == 200


async def revoke(driver: Driver, token: str) -> httpx2.Response:
    return await driver.http.post("/revoke", data={"token": token}, headers=basic("app:1", SECRET))


async def test_a_client_may_send_its_secret_in_the_form(driver: Driver) -> None:
    """client_secret_post works like client_secret_basic."""
    form = {"grant_type": "client_credentials", "client_id": "app:1", "client_secret": SECRET}
    assert (await driver.http.post("/token", data=form)).status_code == 200


def raw_basic(pair: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(pair).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("app:1", "wrong"),
        basic("nobody", SECRET),
        basic("nobody", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer x"},
        raw_basic(b"no colon"),
        raw_basic(b"\xff:\xff"),
        raw_basic(b"%ff:%ff"),
        raw_basic(f"app%3A1:{SECRET}".encode()),
    ],
)
@pytest.mark.parametrize("path", ["/token", "/revoke"])
async def test_a_client_that_does_not_prove_itself(
    driver: Driver, path: str, headers: dict[str, str]
) -> None:
    """Whoever is not the client gets 401 invalid_client with a challenge."""
    form = {"grant_type": "client_credentials", "token": "x"}
    answer = await driver.http.post(path, data=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "form",
    [
        {"client_secret": SECRET},
        {"client_id": "other"},
    ],
)
async def test_a_client_authenticates_in_one_way(driver: Driver, form: dict[str, str]) -> None:
    """Two ways at once, or another client_id beside the header, is invalid_request."""
    answer = await driver.token(grant_type="client_credentials", **form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code_verifier": "short"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code_verifier": "v" * 43}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
async def test_incomplete_token_requests(driver: Driver, form: dict[str, str], error: str) -> None:
    """What is missing or unknown is said in the words of RFC 6749 5.2."""
    answer = await driver.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("authorization", "status", "error"),
    [
        (None, 401, None),
        ("Basic x", 401, None),
        ("Bearer", 401, "invalid_token"),
        ("Bearer x.y.z", 401, "invalid_token"),
        ("Bearer é", 401, "invalid_token"),
    ],
)
async def test_userinfo_refuses(
    driver: Driver, authorization: str | None, status: int, error: str | None
) -> None:
    """The userinfo endpoint answers in the words of RFC 6750 3."""
    headers = {} if authorization is None else {b"Authorization": authorization.encode()}
    answer = await driver.http.get("/userinfo", headers=headers)
    assert answer.status_code == status
    assert (f'error="{error}"' in answer.headers["www-authenticate"]) is (error is not None)


async def test_userinfo_wants_openid(driver: Driver) -> None:
    """A token narrowed to an API scope does not open the userinfo endpoint."""
    token = (await driver.sign_in())["refresh_token"]
    narrow = (await driver.refresh(token, scope="orders:read")).json()
    answer = await driver.userinfo(narrow["access_token"])
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_userinfo_wants_an_access_token_alive(driver: Driver) -> None:
    """Neither an ID token nor an expired access token opens the userinfo endpoint."""
    tokens = await driver.sign_in()
    assert (await driver.userinfo(tokens["id_token"])).status_code == 401
    assert (await driver.userinfo(tokens["access_token"])).status_code == 200
    driver.clock.now += 300
    assert (await driver.userinfo(tokens["access_token"])).status_code == 401
