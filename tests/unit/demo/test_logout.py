from __future__ import annotations

import asyncio

import pytest

from bff.demo.provider.tokens import LOGOUT_EVENT
from tests.unit.demo.conftest import BackChannel
from tests.unit.demo.driver import LOGGED_OUT, Driver, hidden, landed, make_config, make_driver


async def signed_in(driver: Driver) -> bool:
    """Whether the browser has a session at the provider."""
    return "code" in landed(await driver.authorize(prompt="none"))


async def test_a_hint_signs_out_at_once(heard: Driver, backchannel: BackChannel) -> None:
    """With a valid hint the session ends without a question, and the browser goes on."""
    tokens = await heard.sign_in()
    sid = (await heard.verified(tokens["id_token"])).claims["sid"]
    answer = await heard.http.get(
        "/logout",
        params={
            "id_token_hint": tokens["id_token"],
            "client_id": "app:1",
            "post_logout_redirect_uri": LOGGED_OUT,
            "state": "a&b",
        },
    )
    assert landed(answer, LOGGED_OUT) == {"state": "a&b"}
    assert not await signed_in(heard)
    (token,) = [await heard.verified(one) for one in backchannel.tokens]
    now = int(heard.clock.now)
    assert token.header["typ"] == "logout+jwt"
    assert token.claims.pop("jti")
    assert token.claims == {
        "iss": heard.issuer, "aud": "app:1", "sub": "alice", "sid": sid,
        "iat": now, "exp": now + 120, "events": {LOGOUT_EVENT: {}},
    }  # fmt: skip


async def test_every_client_of_the_session_is_told(heard: Driver, backchannel: BackChannel) -> None:
    """Each client that signed in with the session gets its own logout token."""
    tokens = await heard.sign_in()
    await heard.authorize(client_id="other", redirect_uri="http://localhost:9999/cb")
    await heard.http.post("/logout", data={"id_token_hint": tokens["id_token"]})
    told = [(await heard.verified(one)).claims for one in backchannel.tokens]
    assert sorted(claims["aud"] for claims in told) == ["app:1", "other"]
    assert len({claims["jti"] for claims in told}) == 2


async def test_an_expired_hint_still_counts(driver: Driver) -> None:
    """An ID token that has expired is a hint as good as any."""
    tokens = await driver.sign_in()
    driver.clock.now += 4000
    answer = await driver.http.get("/logout", params={"id_token_hint": tokens["id_token"]})
    assert "You are signed out" in answer.text
    assert not await signed_in(driver)


async def test_a_hint_of_another_browser_ends_that_session(driver: Driver) -> None:
    """The hint names the session that ends; this browser's own stays."""
    other = Driver(driver.app, driver.clock)
    async with other.http:
        theirs = await other.sign_in("bob")
        await driver.sign_in("alice")
        await driver.http.get("/logout", params={"id_token_hint": theirs["id_token"]})
        assert await signed_in(driver)
        assert not await signed_in(other)


async def test_offline_access_outlives_the_session(driver: Driver) -> None:
    """Signing out of one session leaves refresh tokens granted for offline access."""
    tokens = await driver.sign_in()
    await driver.http.get("/logout", params={"id_token_hint": tokens["id_token"]})
    assert (await driver.refresh(tokens["refresh_token"])).status_code == 200


async def test_without_a_hint_the_user_is_asked(heard: Driver, backchannel: BackChannel) -> None:
    """Nothing happens until the user has confirmed; then it is as with a hint."""
    await heard.sign_in()
    wanted = {"client_id": "app:1", "post_logout_redirect_uri": LOGGED_OUT, "state": "x"}
    page = await heard.http.get("/logout", params=wanted)
    assert page.status_code == 200
    assert await signed_in(heard)
    assert backchannel.tokens == []
    answer = await heard.http.post("/logout/confirm", data=hidden(page))
    assert landed(answer, LOGGED_OUT) == {"state": "x"}
    assert not await signed_in(heard)
    assert len(backchannel.tokens) == 1


async def test_confirming_needs_our_own_page(driver: Driver) -> None:
    """Another site cannot confirm for the user."""
    await driver.sign_in()
    assert (await driver.http.post("/logout/confirm", data={"csrf": "x"})).status_code == 403
    assert await signed_in(driver)


async def test_nobody_signed_in_is_not_asked(driver: Driver) -> None:
    """Without a session the browser goes on at once, or reads that it is signed out."""
    wanted = {"client_id": "app:1", "post_logout_redirect_uri": LOGGED_OUT}
    assert landed(await driver.http.get("/logout", params=wanted), LOGGED_OUT) == {}
    assert "You are signed out" in (await driver.http.get("/logout")).text


@pytest.mark.parametrize(
    "changes",
    [
        {"post_logout_redirect_uri": "https://evil.example/"},
        {"post_logout_redirect_uri": LOGGED_OUT + "/"},
        {"client_id": "other"},
        {"client_id": "nobody"},
        {"id_token_hint": "x.y.z"},
        {"id_token_hint": "é"},
    ],
)
async def test_a_wrong_logout_request_changes_nothing(
    driver: Driver, changes: dict[str, str]
) -> None:
    """A request that is not right ends on a page: nobody is sent away or signed out."""
    tokens = await driver.sign_in()
    good = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": LOGGED_OUT}
    answer = await driver.http.get("/logout", params=good | changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert await signed_in(driver)


async def test_an_access_token_is_no_hint(driver: Driver) -> None:
    """Only an ID token signs out."""
    tokens = await driver.sign_in()
    answer = await driver.http.get("/logout", params={"id_token_hint": tokens["access_token"]})
    assert answer.status_code == 400


async def test_an_address_needs_a_client(driver: Driver) -> None:
    """Without hint and client_id no address can be registered."""
    answer = await driver.http.get("/logout", params={"post_logout_redirect_uri": LOGGED_OUT})
    assert answer.status_code == 400


async def test_everywhere_means_everywhere(heard: Driver, backchannel: BackChannel) -> None:
    """The button ends all sessions and grants of one user, and tells all clients by sub alone."""
    other = Driver(heard.app, heard.clock)
    stranger = Driver(heard.app, heard.clock)
    async with other.http, stranger.http:
        first, second = await heard.sign_in("alice"), await other.sign_in("alice")
        bob = await stranger.sign_in("bob")
        answer = await heard.http.post("/dev/logout", params={"sub": "alice"})
        assert answer.status_code == 200
        assert [one["sub"] for one in answer.json()["sessions"]] == ["bob"]
        assert not await signed_in(heard)
        assert not await signed_in(other)
        assert await signed_in(stranger)
        for tokens in (first, second):
            assert (await heard.refresh(tokens["refresh_token"])).status_code == 400
            assert (await heard.userinfo(tokens["access_token"])).status_code == 401
        assert (await heard.refresh(bob["refresh_token"])).status_code == 200
        told = [(await heard.verified(one)).claims for one in backchannel.tokens]
        assert sorted(claims["aud"] for claims in told) == ["app:1", "other"]
        assert all(claims["sub"] == "alice" and "sid" not in claims for claims in told)


async def test_one_session_can_be_ended(heard: Driver, backchannel: BackChannel) -> None:
    """By its sid one session ends, and another of the same user stays."""
    other = Driver(heard.app, heard.clock)
    async with other.http:
        tokens = await heard.sign_in()
        await other.sign_in()
        sid = (await heard.verified(tokens["id_token"])).claims["sid"]
        await heard.http.post("/dev/logout", data={"sid": sid})
        assert not await signed_in(heard)
        assert await signed_in(other)
        assert [(await heard.verified(one)).claims["sid"] for one in backchannel.tokens] == [sid]


@pytest.mark.parametrize(
    "wanted", [{}, {"sub": "nobody"}, {"sid": "unknown"}, {"sub": "alice", "sid": "x"}]
)
async def test_dev_logout_wants_one_name(driver: Driver, wanted: dict[str, str]) -> None:
    """Who is meant has to be clear."""
    answer = await driver.http.post("/dev/logout", params=wanted)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_code_not_yet_redeemed_ends_too(driver: Driver) -> None:
    """After "everywhere" a code from before it gives no tokens."""
    code = await driver.code()
    await driver.http.post("/dev/logout", params={"sub": "alice"})
    assert (await driver.redeem(code)).json()["error"] == "invalid_grant"


async def test_switching_users_tells_the_clients_of_the_first(
    heard: Driver, backchannel: BackChannel
) -> None:
    """Another user signing in in the same browser signs the first one out."""
    await heard.sign_in("alice")
    await heard.sign_in("bob", prompt="login")
    assert [(await heard.verified(one)).claims["sub"] for one in backchannel.tokens] == ["alice"]


async def test_a_refused_logout_token_is_counted(heard: Driver, backchannel: BackChannel) -> None:
    """A client that refuses is counted as failed, and the user is signed out all the same."""
    backchannel.status = 400
    await heard.sign_in()
    await heard.http.post("/dev/logout", params={"sub": "alice"})
    counters = await heard.counters()
    assert (counters["logout_tokens.delivered"], counters["logout_tokens.failed"]) == (0, 2)
    assert not await signed_in(heard)


async def test_a_client_that_is_away_holds_nobody_up() -> None:
    """A refused connection is counted as failed, at once."""
    driver = make_driver(make_config(backchannel="http://127.0.0.1:1/x"))
    async with driver.http:
        await driver.sign_in()
        await driver.http.post("/dev/logout", params={"sub": "alice"})
        assert (await driver.counters())["logout_tokens.failed"] == 2


async def test_a_silent_client_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never answers is given up after the time-out."""
    monkeypatch.setattr("bff.demo.provider.backchannel.TIMEOUT", 0.2)
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: silent.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    driver = make_driver(make_config(backchannel=f"http://127.0.0.1:{port}/x"))
    async with driver.http, server:
        await driver.sign_in()
        async with asyncio.timeout(10):
            await driver.http.post("/dev/logout", params={"sub": "alice"})
        assert (await driver.counters())["logout_tokens.failed"] == 2
        for writer in silent:
            writer.close()
            await writer.wait_closed()
