"""The handshake with an upstream: what is offered, what is believed, and what a refusal may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bff.proxy.websocket_client import MAX_REFUSAL, RefusedError, UpstreamSocket, connect
from bff.proxy.websocket_handshake import (
    Agreement,
    Offer,
    encode_handshake,
    judge_agreement,
    read_offer,
)
from bff.proxy.wire import (
    Address,
    UpstreamConnectTimeoutError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from bff.websocket_server import accept_of
from tests.support.processes import free_port
from tests.support.raw_upstream import Peer, raw_upstream

# The key and the proof of RFC 6455 section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PROOF = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = [
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-accept", PROOF),
]
OFFER = Offer((b"chat", b"news"), (b"permessage-deflate",))


def test_the_proof_is_that_of_the_specification() -> None:
    """RFC 6455 section 1.3."""
    assert accept_of(KEY) == PROOF


def test_only_what_can_be_passed_is_offered() -> None:
    """Subprotocols in their order; permessage-deflate with its parameters; nothing else."""
    fields = [
        (b"sec-websocket-protocol", b"chat , news,,"),
        (b"sec-websocket-protocol", b"more"),
        (b"sec-websocket-extensions", b"x-a, PerMessage-Deflate; a=1 , x-b"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ]
    deflate = (b"PerMessage-Deflate; a=1", b"permessage-deflate")
    assert read_offer(fields) == Offer((b"chat", b"news", b"more"), deflate)
    assert read_offer(fields, extensions=False).deflate == ()
    with pytest.raises(ValueError, match="token"):
        read_offer([(b"sec-websocket-protocol", b"a b")])


def test_the_request_says_what_the_protocol_asks_for() -> None:
    """Our key and no other; fields of the protocol that came are not repeated."""
    came = [(b"host", b"up"), (b"sec-websocket-key", b"theirs"), (b"x-a", b"1")]
    head = encode_handshake(b"/a?b", came, OFFER, KEY)
    assert head == (
        b"GET /a?b HTTP/1.1\r\nhost: up\r\nx-a: 1\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: chat, news\r\n"
        b"sec-websocket-extensions: permessage-deflate\r\nconnection: Upgrade\r\n"
        b"upgrade: websocket\r\n\r\n"
    )
    assert b"sec-websocket-protocol" not in encode_handshake(b"/", came, Offer(), KEY)


@pytest.mark.parametrize(
    ("more", "agreed"),
    [
        ([], Agreement()),
        ([(b"sec-websocket-protocol", b"news")], Agreement(b"news")),
        (
            [(b"sec-websocket-extensions", b"permessage-deflate; a=1")],
            Agreement(None, b"permessage-deflate; a=1"),
        ),
    ],
)
def test_an_upstream_may_agree(more: list[tuple[bytes, bytes]], agreed: Agreement) -> None:
    """To what was offered, or to nothing of it."""
    assert judge_agreement(GOOD + more, OFFER, KEY) == agreed


@pytest.mark.parametrize(
    "fields",
    [
        GOOD[1:],
        [(b"upgrade", b"irc"), *GOOD[1:]],
        [(b"upgrade", b"websocket, irc"), *GOOD[1:]],
        [GOOD[0], GOOD[2]],
        [GOOD[0], (b"connection", b"close"), GOOD[2]],
        GOOD[:2],
        [*GOOD[:2], (b"sec-websocket-accept", PROOF.lower())],
        [*GOOD, GOOD[2]],
        [*GOOD, (b"sec-websocket-protocol", b"other")],
        [*GOOD, (b"sec-websocket-protocol", b"chat"), (b"sec-websocket-protocol", b"news")],
        [*GOOD, (b"sec-websocket-protocol", b"chat, news")],
        [*GOOD, (b"sec-websocket-extensions", b"x-mux")],
        [*GOOD, (b"sec-websocket-extensions", b"permessage-deflate, permessage-deflate")],
    ],
)
def test_a_101_that_does_not_prove_it_is_not_believed(fields: list[tuple[bytes, bytes]]) -> None:
    """No upgrade, no proof, or what was not offered (RFC 6455 section 4.1)."""
    with pytest.raises(UpstreamProtocolError):
        judge_agreement(fields, OFFER, KEY)


async def shake(
    handler: Callable[[Peer], Awaitable[None]], patience: float = 10.0
) -> UpstreamSocket:
    """Shake hands with an upstream that says what a test scripts."""
    async with raw_upstream(handler) as upstream:
        return await reach(upstream.port, patience)


async def reach(port: int, patience: float = 10.0) -> UpstreamSocket:
    address = Address("http", "127.0.0.1", port)
    fields = [(b"host", b"elsewhere")]
    return await connect(address, b"/", fields, Offer(), timeout=patience, connect_timeout=patience)


def says(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Answer with these bytes, piece by piece, and close."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert b"host: 127.0.0.1:" in head
        key = head.partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        for answer in answers:
            await peer.say(answer.replace(b"PROOF", accept_of(key)))
            await asyncio.sleep(0)

    return handle


YES = (
    b"HTTP/1.1 101 Yes\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Accept: PROOF\r\n\r\n"
)


async def test_interim_answers_are_skipped_and_early_frames_kept() -> None:
    """103, then 101 with two bytes of a frame behind it."""
    socket = await shake(says(b"HTTP/1.1 103 Early\r\nUpgrade: irc\r\n\r\n" + YES + b"\x81\x00"))
    assert socket.early == b"\x81\x00"
    assert socket.agreement == Agreement()
    socket.transport.abort()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ([b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n", b"no"], b"no"),
        ([b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"], b"no"),
        ([b"HTTP/1.0 403 No\r\n\r\nno"], b"no"),
        ([b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"], b""),
    ],
)
async def test_a_refusal_is_read_whole(said: list[bytes], body: bytes) -> None:
    """However its end is told."""
    with pytest.raises(RefusedError) as refused:
        await shake(says(*said))
    assert (refused.value.status, refused.value.body) == (403, body)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: PROOF\r\n\r\n",
        YES.replace(b"101", b"102") + YES.replace(b"PROOF", b"x"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % (MAX_REFUSAL + 1)
        + b"x" * (MAX_REFUSAL + 1),
        b"HTTP/1.1 200 OK\r\n" + b"X-A: %s\r\n" % (b"a" * 70_000),
    ],
)
async def test_what_is_no_answer_is_not_believed(said: bytes) -> None:
    """Nor what is one in two readings, or one without an end in sight."""
    with pytest.raises(UpstreamProtocolError):
        await shake(says(said))


async def test_an_upstream_that_does_not_answer_is_told_apart() -> None:
    """Not there (nothing was sent), gone, cut short, or slow."""
    with pytest.raises(UpstreamUnreachableError):
        await reach(free_port())
    for said in (b"", b"HTTP/1.1 101", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno"):
        with pytest.raises(UpstreamUnavailableError):
            await shake(says(said))

    async def silent(peer: Peer) -> None:
        await peer.until_closed()

    with pytest.raises(UpstreamTimeoutError) as slow:
        await shake(silent, 0.05)
    assert not isinstance(slow.value, UpstreamConnectTimeoutError)


async def test_who_gives_up_leaves_no_connection() -> None:
    """A cancelled handshake closes it."""
    begun = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.head()
        begun.set()
        await peer.until_closed()

    async with raw_upstream(silent) as upstream:
        task = asyncio.create_task(reach(upstream.port))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.left.wait(), 5)
