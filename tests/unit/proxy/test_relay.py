"""Two ends of a WebSocket: who is pinged, who is gone, and how both are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bff.proxy import relay as relay_module
from bff.proxy.frames import Close, Opcode, close_frame, control_frame, masked
from bff.proxy.relay import End, Relay

SILENCE = 60.0
HELLO = b"\x81\x05hello"
KEY = b"\1\2\3\4"
MASKED_HELLO = b"\x81\x85" + KEY + masked(b"hello", KEY)
PING = control_frame(Opcode.PING, b"bff")


class FakeTransport(asyncio.Transport):
    """Notes what is done to it; loses the connection when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class Rig:
    """A relay between two fake connections."""

    def __init__(self) -> None:
        self.relay = Relay(max_message=1000, deflate=False, silence=SILENCE)
        self.browser, self.upstream = FakeTransport(), FakeTransport()
        self.relay.browser.connection_made(self.browser)
        self.relay.upstream.connection_made(self.upstream)
        self.began = self.relay.loop.time()

    def after(self, seconds: float) -> None:
        """Look as if so much time had passed since the beginning."""
        self.relay.look(self.began + seconds)

    def said_to_upstream(self) -> list[tuple[int, bytes]]:
        """Return the short frames that went to the upstream, unmasked."""
        data, frames = self.upstream.written, list[tuple[int, bytes]]()
        while data:
            size = data[1] & 0x7F
            assert data[1] & 0x80
            frames.append((data[0], masked(data[6 : 6 + size], data[2:6])))
            data = data[6 + size :]
        return frames

    def lose(self, *ends: End) -> None:
        for end in ends:
            end.connection_lost(None)


@pytest.fixture
async def rig() -> Rig:
    """A relay."""
    return Rig()


async def test_a_silent_end_is_pinged_once_and_then_taken_for_gone(rig: Rig) -> None:
    """Both ends: the browser hears that it was the upstream (1014), the upstream a 1001."""
    rig.after(SILENCE / 3 - 1)
    assert rig.browser.written == rig.upstream.written == b""
    rig.after(SILENCE / 3 + 1)
    rig.after(SILENCE / 3 + 2)
    assert rig.browser.written == PING
    assert rig.said_to_upstream() == [(0x89, b"bff")]
    rig.relay.browser.data_received(MASKED_HELLO)
    rig.relay.browser._heard_at += SILENCE
    rig.after(SILENCE + 1)
    assert rig.browser.written == PING + close_frame(Close(1014, "silent"))
    assert rig.said_to_upstream()[-1] == (0x88, (1001).to_bytes(2) + b"silent")
    assert rig.relay.reason == "silent"


async def test_an_answer_to_a_ping_is_life_and_goes_on(rig: Rig) -> None:
    """Whatever comes is; what answers our ping goes to the other end, which may not mind."""
    rig.after(SILENCE / 3 + 1)
    pong = control_frame(Opcode.PONG, b"bff", KEY)
    rig.relay.browser.data_received(pong)
    rig.relay.upstream.data_received(control_frame(Opcode.PONG, b"bff"))
    for end in (rig.relay.browser, rig.relay.upstream):
        end._heard_at = rig.began + SILENCE / 3 + 1
    rig.after(SILENCE + 1)
    assert rig.browser.written == PING + control_frame(Opcode.PONG, b"bff") + PING
    assert not rig.relay.ending


async def test_no_ping_goes_into_a_frame(rig: Rig) -> None:
    """And who cannot be asked is not taken for gone."""
    rig.relay.upstream.data_received(b"\x82\x7e\x01\x00half")
    rig.after(SILENCE / 3 + 1)
    assert rig.browser.written == b"\x82\x7e\x01\x00half"
    rig.relay.upstream._heard_at += SILENCE
    rig.after(SILENCE + 5)
    assert not rig.relay.ending


async def test_who_does_not_take_what_waits_for_it_is_gone(rig: Rig) -> None:
    """Its silence is no excuse; the other end, which is not read meanwhile, is not blamed."""
    rig.relay.browser.pause_writing()
    assert rig.upstream.paused
    rig.after(SILENCE - 1)
    assert not rig.relay.ending
    rig.after(SILENCE + 1)
    assert rig.relay.reason == "silent"
    assert rig.browser.written == close_frame(Close(1001, "silent"))


async def test_who_reads_slowly_lives(rig: Rig) -> None:
    """Each time its buffer empties counts."""
    rig.relay.browser.pause_writing()
    rig.relay.browser.resume_writing()
    assert not rig.upstream.paused
    rig.relay.browser._heard_at = rig.relay.upstream._heard_at = rig.began + SILENCE
    rig.after(SILENCE + 1)
    assert not rig.relay.ending


async def test_a_stopping_service_says_so(rig: Rig) -> None:
    """1012 to the browser, which may come back; 1001 to the upstream."""
    rig.relay.browser.shut_down()
    assert rig.browser.written == close_frame(Close(1012))
    assert rig.said_to_upstream() == [(0x88, (1001).to_bytes(2))]
    assert rig.relay.reason == "shutdown"


async def test_after_our_close_nothing_goes_on_but_the_answer_closes(rig: Rig) -> None:
    """What comes is dropped; each connection is closed when its end has answered."""
    rig.relay.end_session()
    rig.relay.upstream.data_received(HELLO)
    assert rig.browser.written == close_frame(Close(4401, "session ended"))
    assert not rig.browser.closed
    rig.relay.browser.data_received(MASKED_HELLO + close_frame(Close(4401), KEY))
    assert rig.browser.closed
    assert not rig.upstream.closed
    assert not rig.relay.finished.done()
    rig.relay.upstream.data_received(close_frame(Close(1001)))
    rig.lose(rig.relay.browser, rig.relay.upstream)
    await rig.relay.finished


async def test_who_does_not_answer_is_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment, both."""
    monkeypatch.setattr(relay_module, "ENDING_SECONDS", 0.01)
    rig.relay.end_session()
    async with asyncio.timeout(5):
        while not (rig.browser.aborted and rig.upstream.aborted):
            await asyncio.sleep(0.01)


async def test_a_close_that_is_not_answered_is_not_waited_for_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both connections are cut."""
    monkeypatch.setattr(relay_module, "CLOSING_SECONDS", 0.01)
    rig.relay.browser.data_received(close_frame(Close(1000), KEY))
    assert rig.upstream.written == close_frame(Close(1000), KEY)
    async with asyncio.timeout(5):
        while not (rig.browser.aborted and rig.upstream.aborted):
            await asyncio.sleep(0.01)


Act = Callable[[Rig], object]


@pytest.mark.parametrize(
    "act",
    [
        lambda rig: rig.relay.browser.data_received(close_frame(Close(1000), KEY)),
        lambda rig: rig.relay.end_session(),
        lambda rig: rig.relay.upstream.data_received(b"\xff\xff"),
        lambda rig: rig.relay.browser.eof_received(),
        lambda rig: rig.relay.upstream.eof_received(),
        lambda rig: rig.relay.browser.pause_writing(),
        lambda rig: rig.relay.upstream.data_received(b"\x82\x7e\x01\x00half"),
        lambda rig: rig.relay.shut_down(),
    ],
)
async def test_it_finishes_when_both_connections_are_lost(rig: Rig, act: Act) -> None:
    """Whatever happened before, in either order, and nothing raises then."""
    act(rig)
    rig.lose(rig.relay.browser)
    rig.relay.end_session()
    rig.after(10 * SILENCE)
    assert not rig.relay.finished.done()
    rig.lose(rig.relay.upstream)
    assert rig.relay.finished.done()
    rig.relay.end_session()
    rig.relay.shut_down()


async def test_a_slow_end_is_cut_in_the_middle_of_a_frame(rig: Rig) -> None:
    """Its Close would have to wait for what it does not take."""
    rig.relay.upstream.data_received(b"\x82\x7e\x01\x00half")
    rig.relay.browser.pause_writing()
    rig.relay.end_session()
    assert rig.browser.aborted
    assert not rig.upstream.paused
