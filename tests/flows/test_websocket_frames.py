"""WebSockets byte for byte: raw sockets on both sides of the service, frames as they pass."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bff.websocket_server import accept_of
from tests.support.certificates import loopback_certificate
from tests.support.fleet import Fleet, cookie_of, open_fleet
from tests.support.keep_alive import cpu_seconds, resident
from tests.support.processes import free_port
from tests.support.raw_http import exchange, request, said
from tests.support.raw_upstream import Peer, RawUpstream, raw_upstream
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    KEY,
    MASK,
    PING,
    PONG,
    TEXT,
    RawFrame,
    RawWebSocket,
    RefusedError,
    closing,
    encode,
    header,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONGEST = 150_000_000
NOT_FOR_EVER = 3.0  # half a second, and what a busy machine adds
MANY = 1000
MIB = 1 << 20

Certificate = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def port() -> int:
    """Where upstreams listen."""
    return free_port()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """An authority that the service believes, and a server's certificate and key."""
    return loopback_certificate(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, port: int, certificate: Certificate
) -> AsyncIterator[Fleet]:
    """One worker with routes to one address."""
    url = f"http://127.0.0.1:{port}"
    routes = {
        "/ws": url,
        "/open": {"upstream": url, "auth": "none"},
        "/tls": {"upstream": url.replace("http", "https"), "auth": "none"},
    }
    env = {
        "BFF_ROUTES": json.dumps(routes),
        "BFF_WEBSOCKET_MAX_MESSAGE": str(LONGEST),
        "SSL_CERT_FILE": str(certificate[0]),
    }
    async with open_fleet(tmp_path_factory.mktemp("frames"), env) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def both_ends(
    fleet: Fleet, port: int, *fields: str, cookie: str = "", answer: tuple[str, ...] = ()
) -> AsyncIterator[tuple[RawWebSocket, RawWebSocket, RawUpstream]]:
    """Open one WebSocket; give the browser's end and the upstream's."""
    accepted: asyncio.Future[RawWebSocket] = asyncio.get_running_loop().create_future()

    async def accept(peer: Peer) -> None:
        accepted.set_result(await RawWebSocket.accept(peer, *answer))
        await asyncio.Event().wait()

    target = "/ws" if cookie else "/open"
    async with raw_upstream(accept, port=port) as upstream:
        browser = await RawWebSocket.open(fleet.base_url, target, *fields, cookie=cookie)
        try:
            yield browser, await accepted, upstream
        finally:
            await browser.aclose()


async def test_pings_go_from_end_to_end(fleet: Fleet, port: int) -> None:
    """Nobody between answers them, whichever end asks; so a dead end is noticed by the other."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        await browser.send(PING, b"are you there")
        assert await upstream.frame() == RawFrame(PING, b"are you there", masked=True)
        await upstream.send(PONG, b"are you there")
        assert await browser.frame() == RawFrame(PONG, b"are you there")
        await upstream.send(PING, b"and you")
        assert await browser.frame() == RawFrame(PING, b"and you")
        await browser.send(PONG, b"and you")
        assert await upstream.frame() == RawFrame(PONG, b"and you", masked=True)


async def test_fragments_stay_fragments(fleet: Fleet, port: int) -> None:
    """Each goes on before the next is here, with control frames between them; masks too stay."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        for first, payload in ((0x01, b"fr"), (0x00, b""), (PING, b""), (0x80, b"ag"), (TEXT, b"")):
            await browser.send(first, payload)
            assert await upstream.frame() == RawFrame(first, payload, masked=True)
            await upstream.send(first, payload)
            assert await browser.frame() == RawFrame(first, payload)
        sent = encode(BINARY, b"\0\xff" * 70_000, mask=MASK)
        await browser.say(sent)
        assert await asyncio.wait_for(upstream.reader.readexactly(len(sent)), 10) == sent


async def test_compression_is_agreed_by_the_two_ends(fleet: Fleet, port: int) -> None:
    """Offer and answer pass as they are; other extensions are not offered."""
    offer = "permessage-deflate; client_max_window_bits; server_max_window_bits=10"
    agreed = "permessage-deflate; server_max_window_bits=10"
    async with both_ends(
        fleet, port, f"Sec-WebSocket-Extensions: x-mux, {offer}", "Sec-WebSocket-Extensions: x-y",
        answer=(f"Sec-WebSocket-Extensions: {agreed}",),
    ) as (browser, upstream, seen):  # fmt: skip
        assert browser.answer is not None
        assert browser.answer.headers["sec-websocket-extensions"] == agreed
        head = seen.requests[0].decode().lower()
        assert f"sec-websocket-extensions: {offer}\r\n" in head
        assert "x-mux" not in head
        assert "x-y" not in head
        await browser.send(0xC1, b"squeezed")
        assert await upstream.frame() == RawFrame(0xC1, b"squeezed", masked=True)
    async with both_ends(fleet, port) as (browser, upstream, _):
        await browser.send(0xC1, b"squeezed")
        assert await browser.frame() == RawFrame(CLOSE, closing(1002, "reserved bit"))


@pytest.mark.parametrize(
    "field",
    [
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: x-mux",
        "Sec-WebSocket-Protocol: chat",
    ],
)
async def test_nobody_may_agree_to_what_was_not_offered(
    fleet: Fleet, port: int, field: str
) -> None:
    """The upstream's 101 is a 502 then."""
    with pytest.raises(RefusedError) as refused:
        async with both_ends(fleet, port, answer=(field,)):
            pass
    assert refused.value.answer.status == 502


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (encode(TEXT, b"unmasked"), 1002),
        (encode(0x83, b"", mask=MASK), 1002),
        (encode(0x80, b"", mask=MASK), 1002),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
        (header(BINARY, LONGEST + 1, mask=MASK), 1009),
    ],
)
async def test_a_browser_that_breaks_the_protocol_is_told(
    fleet: Fleet, port: int, sent: bytes, code: int
) -> None:
    """1002 or 1009; the upstream gets what was good, and a Close, and nothing of the rest."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        await browser.say(encode(TEXT, b"good", mask=MASK) + sent)
        told = await browser.frame()
        assert told.first == CLOSE
        assert told.payload[:2] == code.to_bytes(2)
        assert (await upstream.frame()).payload == b"good"
        last = await upstream.frame()
        assert (last.first, last.masked) == (CLOSE, True)
        assert last.payload[:2] == (1009 if code == 1009 else 1001).to_bytes(2)
        assert await upstream.end() == b""
        await browser.end()


async def test_an_upstream_that_breaks_the_protocol_is_a_bad_gateway(
    fleet: Fleet, port: int
) -> None:
    """1014 to the browser, 1002 to the upstream; what is too long is 1009 to both."""
    for sent, codes in (
        (encode(TEXT, b"masked", mask=MASK), (1014, 1002)),
        (header(BINARY, LONGEST + 1), (1009, 1009)),
    ):
        async with both_ends(fleet, port) as (browser, upstream, _):
            await upstream.say(sent)
            for end, code in zip((browser, upstream), codes, strict=True):
                last = await end.frame()
                assert last.first == CLOSE
                assert last.payload[:2] == code.to_bytes(2)


@pytest.mark.parametrize("browsers", [True, False])
async def test_a_close_is_answered_by_the_other_end(
    fleet: Fleet, port: int, browsers: bool
) -> None:
    """What the other end still says comes first; an end that hangs up after its Close may wait."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        one, other = (browser, upstream) if browsers else (upstream, browser)
        await one.send(CLOSE, closing(3000, "enough"))
        one.writer.write_eof()
        assert (await other.frame())[:2] == (CLOSE, closing(3000, "enough"))
        await other.send(TEXT, b"last words")
        assert (await one.frame())[:2] == (TEXT, b"last words")
        await other.send(CLOSE, closing(3001))
        assert (await one.frame())[:2] == (CLOSE, closing(3001))
        assert await one.end() == b""
        assert await other.end() == b""


async def test_who_hangs_up_without_a_close_is_gone(fleet: Fleet, port: int) -> None:
    """The upstream sees the same: the connection ends, and no Close was said (1006)."""
    for hang_up in (RawWebSocket.aclose, half_close):
        async with both_ends(fleet, port) as (browser, upstream, _):
            await browser.send(TEXT, b"hello")
            await hang_up(browser)
            assert (await upstream.frame()).payload == b"hello"
            assert await upstream.end() == b""


async def half_close(browser: RawWebSocket) -> None:
    browser.writer.write_eof()


async def test_frames_behind_the_upstreams_answer_are_not_lost(fleet: Fleet, port: int) -> None:
    """A server may speak in the same breath."""

    async def hasty(peer: Peer) -> None:
        await RawWebSocket.accept(peer, behind=encode(TEXT, b"first") + encode(TEXT, b"second"))
        await peer.until_closed()

    async with raw_upstream(hasty, port=port):
        browser = await RawWebSocket.open(fleet.base_url, "/open")
        assert [(await browser.frame()).payload for _ in range(2)] == [b"first", b"second"]
        await browser.aclose()


async def test_frames_behind_the_browsers_question_are_not_lost(fleet: Fleet, port: int) -> None:
    """A client ought to wait for the answer; one that does not is understood all the same."""

    async def listen(peer: Peer) -> None:
        end = await RawWebSocket.accept(peer)
        await end.send(TEXT, (await end.frame()).payload)
        await peer.until_closed()

    async with raw_upstream(listen, port=port):
        early = encode(TEXT, b"early", mask=MASK).decode("latin-1")
        browser = await RawWebSocket.open(fleet.base_url, "/open", behind=early)
        assert (await browser.frame()).payload == b"early"
        await browser.aclose()


async def test_a_handshake_behind_a_request_opens_nothing(fleet: Fleet, port: int) -> None:
    """Its answer would be taken for that of the request, which has none yet."""

    async def slow(peer: Peer) -> None:
        await peer.head()
        await peer.until_closed()

    async with raw_upstream(slow, port=port) as upstream:
        first = request("/open").replace(b"Connection: close\r\n", b"")
        second = request(
            "/open", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
        ).replace(b"Connection: close", b"Connection: Upgrade")
        assert await said(fleet.base_url, first + second) == b""
        assert len(upstream.requests) <= 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Sec-WebSocket-Version: 13",), 400),
        (("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"), 400),
        (("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "=="), 400),
        (("Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="), 426),
        (("Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",), 426),
    ],
)
async def test_a_handshake_that_is_none_is_refused(
    fleet: Fleet, fields: tuple[str, ...], status: int
) -> None:
    """400, or 426 with the version that is spoken (RFC 6455 section 4.2.2)."""
    if "Sec-WebSocket-Key: " + "A" * 22 + "==" in fields:
        fields = (*fields, fields[-1])
    sent = request("/open", "Upgrade: websocket", *fields).replace(
        b"Connection: close", b"Connection: Upgrade"
    )
    answer = await exchange(fleet.base_url, sent)
    assert answer.status == status
    assert answer.headers.get("sec-websocket-version") == ("13" if status == 426 else None)


async def test_only_a_get_opens_a_websocket(fleet: Fleet) -> None:
    """A POST that asks for it is refused, and nothing behind it is taken for a request."""
    sent = (
        b"POST /open HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    answer = await exchange(fleet.base_url, sent)
    assert answer.status == 400
    assert answer.rest == b""


async def test_an_upstream_with_tls_is_verified_and_served(
    fleet: Fleet, port: int, certificate: Certificate, tmp_path: Path
) -> None:
    """Frames pass as without; one whose certificate is of an authority unknown is a 502."""

    async def greet(peer: Peer) -> None:
        end = await RawWebSocket.accept(peer, behind=encode(TEXT, b"welcome"))
        await end.send((await end.frame()).first, b"x" * 200_000)
        await end.send(CLOSE, closing(4000))

    for paths, trusted in ((certificate, True), (loopback_certificate(tmp_path), False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths[1], paths[2])
        async with raw_upstream(greet, server_ssl=context, port=port):
            if not trusted:
                with pytest.raises(RefusedError) as refused:
                    await RawWebSocket.open(fleet.base_url, "/tls")
                assert refused.value.answer.status == 502
                continue
            browser = await RawWebSocket.open(fleet.base_url, "/tls")
            assert (await browser.frame()).payload == b"welcome"
            await browser.send(TEXT, b"hello")
            assert await browser.frame() == RawFrame(TEXT, b"x" * 200_000)
            assert await browser.frame() == RawFrame(CLOSE, closing(4000))
            await browser.send(CLOSE, closing(4000))
            assert await browser.end() == b""
            await browser.aclose()


async def test_a_token_that_the_upstream_refuses_is_renewed_once(fleet: Fleet, port: int) -> None:
    """A 401 for an expired token is met by a refresh; a second one is the browser's."""
    user = await fleet.signed_in()
    tokens: list[bytes] = []
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n" + (
        b'WWW-Authenticate: Bearer error="invalid_token"\r\n\r\nno'
    )

    async def particular(peer: Peer) -> None:
        head = (await peer.head()).lower()
        tokens.append(head.partition(b"authorization: ")[2].partition(b"\r\n")[0])
        await peer.say(refused)

    async def lenient(peer: Peer) -> None:
        if tokens:
            await RawWebSocket.accept(peer)
            await peer.until_closed()
        else:
            await particular(peer)

    async with raw_upstream(lenient, port=port) as upstream:
        await (await RawWebSocket.open(fleet.base_url, "/ws", cookie=cookie_of(user))).aclose()
        assert len(upstream.requests) == 2
        assert tokens[0] not in upstream.requests[1].lower()
    tokens.clear()
    async with raw_upstream(particular, port=port):
        with pytest.raises(RefusedError) as last:
            await RawWebSocket.open(fleet.base_url, "/ws", cookie=cookie_of(user))
    assert (last.value.answer.status, last.value.answer.body) == (401, b"no")
    assert len(set(tokens)) == len(tokens) == 2


async def test_an_upstream_that_wants_a_better_sign_in_gets_the_page_told(
    fleet: Fleet, port: int
) -> None:
    """Its challenge becomes our problem, with a login URL that asks for the same (RFC 9470)."""
    user = await fleet.signed_in()

    async def particular(peer: Peer) -> None:
        await peer.head()
        await peer.say(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer "
            b'error="insufficient_user_authentication", acr_values="mfa"\r\n\r\n'
        )

    async with raw_upstream(particular, port=port):
        with pytest.raises(RefusedError) as refused:
            await RawWebSocket.open(fleet.base_url, "/ws", cookie=cookie_of(user))
    problem = json.loads(refused.value.answer.body)
    assert problem["code"] == "step_up_required"
    assert problem["login_url"] == "/bff/login?acr_values=mfa"


async def test_a_browser_that_leaves_during_the_handshake_is_not_waited_for(
    fleet: Fleet, port: int
) -> None:
    """The upstream's connection is closed at once."""
    asked = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.until_closed()

    async with raw_upstream(slow, port=port) as upstream:
        opening = asyncio.create_task(RawWebSocket.open(fleet.base_url, "/open"))
        await asyncio.wait_for(asked.wait(), 10)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_a_session_that_ends_during_the_handshake_opens_nothing(
    fleet: Fleet, port: int
) -> None:
    """The upstream said yes, but the browser hears 401, and the upstream is left."""
    user = await fleet.signed_in()
    asked = asyncio.Event()
    ended = asyncio.Event()

    async def slow(peer: Peer) -> None:
        head = await peer.head()
        asked.set()
        await ended.wait()
        key = head.partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        await peer.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_of(key)
        )
        await peer.until_closed()

    async with raw_upstream(slow, port=port) as upstream:
        opening = asyncio.create_task(
            RawWebSocket.open(fleet.base_url, "/ws", cookie=cookie_of(user))
        )
        await asyncio.wait_for(asked.wait(), 10)
        await user.fetch("/bff/logout", method="POST")
        await asyncio.sleep(0.3)  # until the worker has heard of it
        ended.set()
        with pytest.raises(RefusedError) as refused:
            await opening
        assert refused.value.answer.status == 401
        await asyncio.wait_for(upstream.left.wait(), 10)


async def test_the_end_of_a_session_waits_for_the_frame_under_way(fleet: Fleet, port: int) -> None:
    """Its rest still comes, then 4401; nothing that came behind it does."""
    user = await fleet.signed_in()
    async with both_ends(fleet, port, cookie=cookie_of(user)) as (browser, upstream, _):
        await upstream.say(header(BINARY, 200_000) + b"a" * 150_000)
        await asyncio.wait_for(browser.reader.readexactly(10 + 140_000), 10)
        out = asyncio.create_task(user.fetch("/bff/logout", method="POST"))
        told = await upstream.frame()
        assert (told.first, told.payload[:2]) == (CLOSE, (1001).to_bytes(2))
        await upstream.say(b"b" * 50_000 + encode(TEXT, b"secret"))
        rest = await browser.end()
        assert rest == b"a" * 10_000 + b"b" * 50_000 + encode(CLOSE, closing(4401, "session ended"))
        await out


async def test_the_end_of_a_session_cuts_a_frame_that_does_not_end(fleet: Fleet, port: int) -> None:
    """The rest is not waited for: half a second, then both connections are closed."""
    user = await fleet.signed_in()
    async with both_ends(fleet, port, cookie=cookie_of(user)) as (browser, upstream, _):
        await upstream.say(header(BINARY, 200_000) + b"a" * 150_000)
        await asyncio.wait_for(browser.reader.readexactly(10 + 150_000), 10)
        await user.fetch("/bff/logout", method="POST")
        began = time.monotonic()
        assert await browser.end() == b""
        assert (await upstream.frame()).first == CLOSE
        await upstream.end()
        assert time.monotonic() - began < NOT_FOR_EVER


def rss(fleet: Fleet) -> int:
    """Return the resident memory of the worker, in bytes."""
    return resident(fleet.pids[0])


@pytest.mark.parametrize("fragmented", [True, False])
async def test_a_long_message_is_not_held(fleet: Fleet, port: int, fragmented: bool) -> None:
    """100 MB, in fragments or in one frame, with less than 30 MB growth of memory."""
    piece = b"x" * MIB
    async with both_ends(fleet, port) as (browser, upstream, _):
        before = rss(fleet)

        async def shout() -> None:
            if not fragmented:
                upstream.writer.write(header(BINARY, 100 * MIB))
            for number in range(100):
                if fragmented:
                    first = (0x02 if number == 0 else 0) | (0x80 if number == 99 else 0)
                    upstream.writer.write(header(first, MIB))
                await upstream.say(piece)

        shouting = asyncio.create_task(shout())
        most, left = 0, 100 * MIB
        while left > 0:
            left -= len(await asyncio.wait_for(browser.reader.read(MIB), 20))
            most = max(most, rss(fleet))
        await shouting
        assert most - before < 30 * MIB


@pytest.mark.parametrize("down", [True, False])
async def test_who_reads_slowly_is_sent_slowly(fleet: Fleet, port: int, down: bool) -> None:
    """A sender is held back, not its messages held; and all come when they are read."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        sender, reader = (upstream, browser) if down else (browser, upstream)
        before = rss(fleet)
        message = encode(BINARY, bytes(65_536), mask=sender.mask)
        sent = 0

        async def shout() -> None:
            nonlocal sent
            while sent < 1500:
                await sender.say(message)
                sent += 1

        shouting = asyncio.create_task(shout())
        last = -1
        while last != sent:  # until the buffers of all the sockets are full
            last = sent
            await asyncio.sleep(0.5)
        assert sent < 1500
        assert rss(fleet) - before < 30 * MIB
        for _ in range(1500):
            assert await reader.reader.readexactly(len(message)) == message
        await shouting


async def test_a_thousand_websockets_on_one_worker(fleet: Fleet, port: int) -> None:
    """They cost little, work while they are open, and all close with their session."""
    user = await fleet.signed_in()

    async def echo(peer: Peer) -> None:
        end = await RawWebSocket.accept(peer)
        while True:
            frame = await end.frame(patience=120)
            await end.send(frame.first, frame.payload)
            if frame.first == CLOSE:
                return

    async with raw_upstream(echo, port=port):
        before = rss(fleet)
        sockets: list[RawWebSocket] = []
        for _ in range(MANY // 50):
            sockets += await asyncio.gather(
                *(
                    RawWebSocket.open(fleet.base_url, "/ws", cookie=cookie_of(user))
                    for _ in range(50)
                )
            )
        each = (rss(fleet) - before) / MANY
        for one in sockets:
            await one.send(TEXT, b"hello")
        assert {(await one.frame()).payload for one in sockets} == {b"hello"}
        began, used = time.monotonic(), cpu_seconds(fleet.pids[0])
        ended = asyncio.create_task(user.fetch("/bff/logout", method="POST"))
        codes: set[bytes] = set()
        for one in sockets:
            codes.add((await one.frame()).payload[:2])
            await one.send(CLOSE, closing(4401))
        told, used = time.monotonic() - began, cpu_seconds(fleet.pids[0]) - used
        assert codes == {(4401).to_bytes(2)}
        for one in sockets:
            assert await one.end() == b""
            await one.aclose()
        print(
            f"{MANY} WebSockets: {each / 1024:.0f} KiB each; told in {told:.2f} s, CPU {used:.2f} s"
        )
        assert each < 64 * 1024
        await ended
    assert len(fleet.logged("websocket.closed")) >= MANY


async def test_what_ended_it_is_in_the_log(fleet: Fleet) -> None:
    """One line each, with the route and a reason, and nothing that was said."""
    reasons = {line["reason"] for line in fleet.logged("websocket.closed")}
    assert reasons >= {"closed", "session_ended", "browser_left", "too_big", "protocol_error"}
    assert {line["route"] for line in fleet.logged("websocket.closed")} == {"/ws", "/open", "/tls"}


async def test_a_service_that_stops_says_so(fleet: Fleet, port: int) -> None:
    """1012 to the browser, 1001 to the upstream; open WebSockets do not hold it up. Comes last."""
    async with both_ends(fleet, port) as (browser, upstream, _):
        stopping = asyncio.create_task(asyncio.to_thread(fleet.services[0].stop))
        assert await browser.frame() == RawFrame(CLOSE, closing(1012))
        assert await upstream.frame() == RawFrame(CLOSE, closing(1001), masked=True)
        await browser.end()
        assert await stopping == 0
    assert fleet.logged("websocket.closed")[-1]["reason"] == "shutdown"
