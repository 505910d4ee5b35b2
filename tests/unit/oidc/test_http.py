"""Calls to the provider over real sockets: what is sent, and what is not put up with."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import unquote_plus

import httpx2
import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc import connections, http
from bff.oidc.client_auth import PLAIN_METHODS
from bff.oidc.connections import MAX_BODY
from bff.oidc.connections import Answer as Heard
from bff.oidc.http import ProviderClient
from bff.oidc.json import parse_object
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.stopwatch import Stopwatch

ODD_ID = "client:id%+ \u00e9"
ODD_SECRET = "s:e%c+r e&t=\u20ac"


@pytest.fixture
async def client() -> AsyncIterator[ProviderClient]:
    """A client with an id and a secret that need encoding."""
    client = ProviderClient(ODD_ID, ODD_SECRET)
    for name, hook in PLAIN_METHODS.items():
        client.register(name, hook)
    yield client
    await client.aclose()


Way = Callable[[ProviderClient, str], Awaitable[Heard]]


@pytest.fixture(params=["get", "ask", "post"])
def way(request: pytest.FixtureRequest) -> Way:
    """Each of the ways in which the provider is called, with a URL."""
    ways: dict[str, Way] = {
        "get": lambda client, url: client.get(url),
        "ask": lambda client, url: client.ask(url, {"Authorization": "Bearer at"}),
        "post": lambda client, url: client.post(url, {"a": "b"}, "none"),
    }
    return ways[request.param]


async def test_a_get_carries_no_credentials(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """It asks for JSON as it is, says who it is, and nothing else."""
    scripted.answers["/x"] = Answer(body={"a": 1})
    answer = await client.get(scripted.url("/x?a=b"))
    assert parse_object(answer.content) == {"a": 1}
    asked = scripted.last("/x")
    assert asked.method == "GET"
    assert asked.target == "/x?a=b"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"] == "bff"
    assert asked.headers.keys() <= {
        "accept", "accept-encoding", "user-agent", "host", "connection",
    }  # fmt: skip


async def test_a_get_can_carry_an_access_token(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """It is sent beside what every request carries."""
    scripted.answers["/x"] = Answer(body={})
    await client.ask(scripted.url("/x?a=b"), {"Authorization": "Bearer at"})
    asked = scripted.last("/x")
    assert (asked.method, asked.target) == ("GET", "/x?a=b")
    assert asked.headers == {
        "host": scripted.url("").removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "bff",
        "authorization": "Bearer at",
    }


async def test_a_token_that_is_no_ascii_is_not_sent(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """What cannot stand in a field goes nowhere, and does not crash."""
    with pytest.raises(ProviderUnavailableError):
        await client.ask(scripted.url("/x"), {"Authorization": "Bearer \u20ac"})
    with pytest.raises(ProviderUnavailableError):
        await client.ask(scripted.url("/x"), {"Authorization": "Bearer a\r\nX: b"})
    assert scripted.times("/x") == 0


async def test_a_field_that_comes_twice_is_one_list(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """Both values are there, so that neither is taken for the only one (RFC 9110 5.2)."""
    nonces = (("DPoP-Nonce", "one"), ("DPoP-Nonce", "two"))
    scripted.answers["/x"] = Answer(body={}, headers=nonces)
    answer = await client.post(scripted.url("/x"), {}, "none")
    assert answer.headers["dpop-nonce"] == "one, two"


async def test_basic_reaches_the_provider_as_it_should(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """Id and secret with odd characters arrive to the letter, and the form beside them."""
    scripted.answers["/token"] = Answer(body={})
    form = {"grant_type": "refresh_token", "refresh_token": "a+b/c=%41 &\u00e9"}
    await client.post(scripted.url("/token"), form, "client_secret_basic")
    asked = scripted.last("/token")
    kind, _, value = asked.headers["authorization"].partition(" ")
    first, second = base64.b64decode(value).decode().split(":")
    assert (kind, unquote_plus(first), unquote_plus(second)) == ("Basic", ODD_ID, ODD_SECRET)
    assert asked.form == form
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_the_secret_can_stand_in_the_form(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """client_secret_post: id and secret are fields, and every field arrives to the letter."""
    scripted.answers["/token"] = Answer(body={})
    form = {"grant_type": "x", "refresh_token": "a+b/c=%41 &\u00e9"}
    await client.post(scripted.url("/token"), form, "client_secret_post")
    asked = scripted.last("/token")
    assert asked.form == {**form, "client_id": ODD_ID, "client_secret": ODD_SECRET}
    assert "authorization" not in asked.headers


async def test_a_public_client_says_only_its_name(
    client: ProviderClient, scripted: ScriptedProvider
) -> None:
    """Method `none`: the id is a field, and there is no secret anywhere."""
    scripted.answers["/token"] = Answer(body={})
    await client.post(scripted.url("/token"), {"a": "b+c %\u00e9"}, "none")
    asked = scripted.last("/token")
    assert asked.form == {"a": "b+c %\u00e9", "client_id": ODD_ID}
    assert "authorization" not in asked.headers


async def test_connections_are_kept(client: ProviderClient, scripted: ScriptedProvider) -> None:
    """Requests one after the other go over one connection."""
    scripted.answers["/x"] = Answer(body={})
    for _ in range(3):
        await client.ask(scripted.url("/x"), {})
        await client.post(scripted.url("/x"), {}, "none")
    assert scripted.connections == 1
    for _ in range(3):
        await client.get(scripted.url("/x"))
    assert scripted.connections == 2


async def test_no_cookie_is_kept(client: ProviderClient, scripted: ScriptedProvider) -> None:
    """What the provider sets for one user is never sent for the next (note on httpx2)."""
    cookie = ("Set-Cookie", "session=alice; Path=/")
    scripted.answers["/x"] = Answer(body={}, headers=(cookie,))
    await client.get(scripted.url("/x"))
    await client.get(scripted.url("/x"))
    await client.ask(scripted.url("/x"), {})
    await client.post(scripted.url("/x"), {}, "client_secret_basic")
    assert all("cookie" not in asked.headers for asked in scripted.asked)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    client: ProviderClient, scripted: ScriptedProvider, way: Way, status: int
) -> None:
    """A redirect is an answer like any other."""
    location = ("Location", scripted.url("/elsewhere"))
    scripted.answers["/x"] = Answer(status, {}, headers=(location,))
    assert (await way(client, scripted.url("/x"))).status_code == status
    assert scripted.times("/elsewhere") == 0


async def test_proxy_variables_are_not_read(
    scripted: ScriptedProvider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment cannot send our secrets through somebody else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    scripted.answers["/x"] = Answer(body={})
    client = ProviderClient("c", None)
    try:
        assert (await way(client, scripted.url("/x"))).status_code == 200
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"x" * (MAX_BODY + 1)),
        Answer(body=gzip.compress(b"{}"), headers=(("Content-Encoding", "gzip"),)),
        Answer(body=b"{}", headers=(("Content-Encoding", "br"),)),
        Answer(body=b"x" * 100, cut=50),
        Answer(body=b"x" * 100, cut=0),
    ],
    ids=["too large", "gzip", "br", "cut short", "no body"],
)
async def test_a_bad_answer_is_no_answer(
    client: ProviderClient, scripted: ScriptedProvider, way: Way, answer: Answer
) -> None:
    """Too large, compressed or cut short: the provider is not well, and the next call goes on."""
    scripted.answers["/x"] = answer
    with pytest.raises(ProviderUnavailableError) as caught:
        await way(client, scripted.url("/x?code=secret"))
    assert "secret" not in str(caught.value)
    scripted.answers["/x"] = Answer(body={})
    assert (await way(client, scripted.url("/x"))).status_code == 200


async def test_the_largest_answer_is_read(
    client: ProviderClient, scripted: ScriptedProvider, way: Way
) -> None:
    """The limit itself is allowed, and `identity` is no compression."""
    plain = ("Content-Encoding", "Identity")
    scripted.answers["/x"] = Answer(body=b"x" * MAX_BODY, headers=(plain,))
    assert len((await way(client, scripted.url("/x"))).content) == MAX_BODY


async def test_a_slow_answer_ends_at_the_deadline(
    client: ProviderClient,
    scripted: ScriptedProvider,
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A byte now and then does not hold a request for ever."""
    monkeypatch.setattr(http, "DEADLINE", 0.3)
    scripted.answers["/x"] = Answer(body=b"x" * 1000, drip=0.02)
    watch = Stopwatch()
    with pytest.raises(ProviderUnavailableError, match="TimeoutError"):
        await way(client, scripted.url("/x"))
    assert watch.seconds() < 1.0


async def test_a_silent_provider_ends_at_the_time_out(
    scripted: ScriptedProvider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer at all is noticed sooner."""
    monkeypatch.setattr(http, "EXTENSIONS", {"timeout": httpx2.Timeout(0.2).as_dict()})
    monkeypatch.setattr(connections, "SILENCE", 0.2)

    async def never(_asked: Asked) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError

    scripted.answers["/x"] = never
    client = ProviderClient("c", None)
    try:
        with pytest.raises(ProviderUnavailableError, match="ReadTimeout"):
            await way(client, scripted.url("/x"))
    finally:
        await client.aclose()


async def test_nobody_there_is_told_without_the_address(client: ProviderClient, way: Way) -> None:
    """The reason is the kind of error, never a text that might hold parameters."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ProviderUnavailableError) as caught:
            await way(client, f"http://127.0.0.1:{port}/?code=secret")
    assert caught.value.reason == "ConnectError"
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["http://", "http://[", "ftp://127.0.0.1/", "http://a\x00b/"])
async def test_an_address_that_is_none_is_told(client: ProviderClient, way: Way, url: str) -> None:
    """A malformed address from discovery is the provider's fault, not a crash."""
    with pytest.raises(ProviderUnavailableError):
        await way(client, url)
