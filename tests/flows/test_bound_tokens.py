"""Tokens bound to a key of each session (RFC 9449), from the sign-in to the upstream and back.

Provider and upstreams judge every proof with another library, and demand nonces that are good once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
import redis

from bff.sessions.session import Session
from bff.websocket_server import accept_of
from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.proofs import BoundApi, BoundProvider, ProofJudge
from tests.support.raw_websocket import RawWebSocket, RefusedError
from tests.support.scripted_provider import Answer, Asked, scripted_provider
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORM = 60
WORKERS = 2
LARGE = b"x" * 200_000


@dataclass
class Stage:
    """The service, its provider and two upstreams, one of which is at two addresses."""

    fleet: Fleet
    provider: BoundProvider
    api: BoundApi
    other: BoundApi

    @property
    def judges(self) -> tuple[ProofJudge, ...]:
        """Everybody who judges proofs."""
        return (self.provider.judge, self.api.judge, self.other.judge)

    async def session(self, browser: UserAgent) -> Session:
        """Return a browser's session as Redis has it."""
        session = await self.fleet.session(browser)
        assert session is not None
        return session


def echo(asked: Asked) -> Answer:
    """Answer with what came; a handshake is agreed to."""
    if asked.headers.get("upgrade") == "websocket":
        key = asked.headers["sec-websocket-key"].encode()
        fields = (
            ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Accept", accept_of(key).decode()),
        )  # fmt: skip
        return Answer(101, b"", headers=fields)
    return Answer(body={"body": asked.body.decode(), "target": asked.target})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Everything, with two workers."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(scripted_provider()) for _ in range(2)]
        urls = [server.issuer for server in servers]
        routes = {
            "/api": f"{urls[0]}/base",
            "/both": {"upstream": urls},
            "/orders": {"upstream": urls[0], "resource": "https://orders.example"},
            "/machine": {"upstream": urls[0], "auth": "client"},
        }
        env = {"BFF_DPOP": "true", "BFF_ROUTES": json.dumps(routes)}
        folder = tmp_path_factory.mktemp("bound")
        fleet = await stack.enter_async_context(open_fleet(folder, env, workers=WORKERS))
        issuer = fleet.minting.provider.issuer
        provider = BoundProvider(fleet.minting, ProofJudge(issuer))
        apis = [
            BoundApi(server, provider.keys, ProofJudge(server.issuer, resource=True))
            for server in servers
        ]
        for api in apis:
            for path in ("/base/api/x", "/both/x", "/orders/x", "/machine/x"):
                api.server.answers[path] = api.guard(echo)
        yield Stage(fleet, provider, *apis)


@pytest.fixture
def stage(started: Stage) -> Iterator[Stage]:
    """Everybody demands nonces that are good once; nobody may find fault with a proof."""
    for judge in started.judges:
        judge.demands = judge.once = True
        judge.demanded = 0
        judge.proofs.clear()
    started.provider.token_type = "dPOP"
    for api in (started.api, started.other):
        api.came.clear()
        api.stale.clear()
    yield started
    assert [judge.faults for judge in started.judges] == [[], [], []]


async def test_a_session_from_sign_in_to_sign_out(stage: Stage) -> None:
    """Code, calls and refresh are proven with the key that the request named, and no other."""
    browser = await stage.fleet.signed_in()
    session = await stage.session(browser)
    assert session.proof_key is not None
    for _ in range(2):
        answer = await browser.fetch("/api/x?a=b%20c")
        assert (answer.status_code, answer.json()["target"]) == (200, "/base/api/x?a=b%20c")
        assert "dpop-nonce" not in answer.headers
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
    assert len(set(stage.api.came)) == 2
    again = await stage.session(browser)
    assert again.proof_key == session.proof_key
    assert {stage.provider.keys[token] for token in stage.api.came} == {session.proof_key.jkt}
    assert (await browser.fetch("/bff/logout", method="POST")).status_code == 200


async def test_each_session_has_a_key_of_its_own(stage: Stage) -> None:
    """Also two of the same user; a new sign-in in the same browser makes a new one."""
    first, second = await stage.fleet.signed_in(), await stage.fleet.signed_in()
    keys = {(await stage.session(browser)).proof_key for browser in (first, second)}
    await stage.fleet.minting.sign_in(first)
    keys.add((await stage.session(first)).proof_key)
    assert len(keys) == 3


async def test_the_request_names_the_key_and_redis_does_not_show_it(stage: Stage) -> None:
    """`dpop_jkt` goes to the provider; the key is sealed, in the login and in the session."""
    browser = await stage.fleet.signed_in()
    key = (await stage.session(browser)).proof_key
    assert key is not None
    waiting = stage.fleet.browser()
    page = await waiting.navigate("/bff/login", follow=False)
    (jkt,) = parse_qs(urlsplit(page.headers["location"]).query)["dpop_jkt"]
    assert len(jkt) == 43
    with redis.Redis.from_url(stage.fleet.redis_url) as client:
        dump = b"".join(client.dump(name) or b"" for name in client.scan_iter())
    assert len(dump) > 1000
    for secret in (key.secret, key.text.encode(), key.jkt.encode(), b"proof_key", jkt.encode()):
        assert secret not in dump


async def test_what_the_browser_sends_as_a_proof_stays_here(stage: Stage) -> None:
    """The upstream gets ours, and only ours."""
    browser = await stage.fleet.signed_in()
    headers = {"DPoP": "a.b.c", "Authorization": "DPoP x"}
    assert (await browser.fetch("/api/x", headers=headers)).status_code == 200


async def test_a_body_is_sent_again_where_it_is_still_here(stage: Stage) -> None:
    """A short one is, with another proof; a long one is gone, and the next attempt goes through."""
    browser = await stage.fleet.signed_in()
    stage.api.judge.nonces.clear()
    answer = await browser.fetch("/api/x", method="POST", content=b"hello")
    assert (answer.status_code, answer.json()["body"]) == (200, "hello")
    stage.api.judge.nonces.clear()
    statuses: list[int] = []
    while 200 not in statuses and len(statuses) < 2 * WORKERS:
        answer = await browser.fetch("/api/x", method="POST", content=LARGE)
        statuses.append(answer.status_code)
        assert "dpop-nonce" not in answer.headers
    assert (statuses[0], statuses[-1]) == (401, 200)
    assert answer.json()["body"] == LARGE.decode()


async def test_a_short_body_that_comes_in_pieces_is_sent_again_whole(stage: Stage) -> None:
    """What was streamed the first time goes out in one piece the second time."""
    browser = await stage.fleet.signed_in()
    stage.api.judge.nonces.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(stage.fleet.base_url).port)
    writer.write(
        f"POST /api/x HTTP/1.1\r\nHost: {urlsplit(stage.fleet.base_url).netloc}\r\n"
        f"Cookie: {cookie_of(browser)}\r\nSec-Fetch-Site: same-origin\r\n"
        "Connection: close\r\nContent-Length: 10\r\n\r\nhello".encode()
    )
    await asyncio.sleep(0.3)  # so that the rest is a piece of its own
    writer.write(b"again")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"helloagain"' in answer


async def test_several_addresses_have_nonces_of_their_own(stage: Stage) -> None:
    """`htu` is the address that is asked, and a nonce goes back to the address that gave it."""
    browser = await stage.fleet.signed_in()
    for judge in (stage.api.judge, stage.other.judge):
        judge.nonces.clear()
    answers = [await browser.fetch("/both/x") for _ in range(12)]
    assert Counter(answer.status_code for answer in answers) == {200: 12}
    assert stage.api.came
    assert stage.other.came


async def test_a_refused_token_is_renewed_once(stage: Stage) -> None:
    """`invalid_token` is met by a refresh, with the same key, also in a challenge for Bearer."""
    browser = await stage.fleet.signed_in()
    old = (await stage.session(browser)).tokens.access_token
    stage.api.stale.add(old)
    assert (await browser.fetch("/api/x")).status_code == 200
    (new,) = stage.api.came
    assert new != old


async def test_an_upstream_that_always_wants_another_nonce_is_not_asked_for_ever(
    stage: Stage,
) -> None:
    """Once more, then its answer is the browser's, without the nonce."""
    browser = await stage.fleet.signed_in()
    judge = stage.api.judge
    challenge = ("WWW-Authenticate", 'DPoP error="use_dpop_nonce"')

    def never(_asked: Asked) -> Answer:
        return Answer(401, {}, headers=(challenge, ("DPoP-Nonce", judge.fresh())))

    stage.api.server.answers["/base/api/never"] = never
    before = stage.api.server.times("/base/api/never")
    answer = await browser.fetch("/api/never")
    assert (answer.status_code, "dpop-nonce" in answer.headers) == (401, False)
    assert stage.api.server.times("/base/api/never") == before + 2


async def test_a_token_for_one_upstream_alone_is_bound_too(stage: Stage) -> None:
    """What is got by `resource` has the session's key."""
    browser = await stage.fleet.signed_in()
    assert (await browser.fetch("/orders/x")).status_code == 200
    session = await stage.session(browser)
    assert session.proof_key is not None
    (token,) = stage.api.came
    assert token != session.tokens.access_token
    assert stage.provider.keys[token] == session.proof_key.jkt


async def test_the_services_own_token_is_bound_to_a_key_of_the_worker(stage: Stage) -> None:
    """Without a session, and with no session's key."""
    connections = await stage.fleet.spread(STORM)
    answers = await asyncio.gather(*(one.ask("/machine/x") for one in connections))
    assert Counter(answer.status for answer in answers) == {200: STORM}
    assert len({stage.provider.keys[token] for token in stage.api.came}) == WORKERS


async def test_a_websocket_is_proven_by_its_handshake(stage: Stage) -> None:
    """A nonce that is demanded is met by a second handshake, and a refused token by a third."""
    browser = await stage.fleet.signed_in()
    for target in ("/api/x", "/both/x", "/both/x"):
        for api in (stage.api, stage.other):
            api.judge.nonces.clear()
            api.stale.add((await stage.session(browser)).tokens.access_token)
        socket = await RawWebSocket.open(stage.fleet.base_url, target, cookie=cookie_of(browser))
        await socket.aclose()
    stage.api.server.answers["/base/api/refused"] = Answer(
        401, {}, headers=(("WWW-Authenticate", 'DPoP error="use_dpop_nonce"'), ("DPoP-Nonce", "n"))
    )
    with pytest.raises(RefusedError) as caught:
        await RawWebSocket.open(stage.fleet.base_url, "/api/refused", cookie=cookie_of(browser))
    assert caught.value.answer.status == 401
    assert stage.api.server.times("/base/api/refused") == 2


async def test_a_storm_with_an_expired_token_makes_one_refresh(stage: Stage) -> None:
    """Every request has a proof of its own; the nonces of refreshes at once are not mixed up."""
    browsers = [await stage.fleet.signed_in(sub) for sub in ("alice", "bob", "carol")]
    for browser in browsers:
        await stage.fleet.age(browser, left=-5)
    for judge in stage.judges:
        judge.once = judge is stage.provider.judge  # an upstream's are not good once in a storm
    stage.fleet.minting.counted.clear()
    connections = await stage.fleet.spread(STORM)
    cookies = [cookie_of(browser) for browser in browsers]
    answers = await asyncio.gather(
        *(one.ask("/api/x", cookies[place % 3]) for place, one in enumerate(connections))
    )
    assert Counter(answer.status for answer in answers) == {200: STORM}
    assert stage.fleet.minting.counted["refreshes"] == len(browsers)


async def test_a_provider_that_ignores_the_proof_is_noticed(stage: Stage) -> None:
    """No session is made of a bearer token, and one that is there keeps its bound one."""
    browser = await stage.fleet.signed_in()
    stage.provider.token_type = "Bearer"
    assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 503
    assert (await browser.fetch("/api/x")).status_code == 200
    page = await stage.fleet.minting.sign_in(stage.fleet.browser())
    assert page.status == 400
    (line,) = stage.fleet.logged("login.failed")
    assert line["reason"] == "token_endpoint_token_not_bound"
