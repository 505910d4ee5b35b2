"""Two ends of a WebSocket, and the bytes between them.

Rules: bytes go on as they are, and only as fast as the other end takes them; one end's Close is the
other's, and then both connections are closed; a Close of ours goes out where a frame ends, else the
connection is cut, so that nothing looks whole that is not; once one end is at fault or gone, or the
session has ended, nothing more goes on but the rest of a frame that is under way, and that for a
moment only.

An end that says nothing is pinged, and taken for gone if it stays silent. Its Pong goes on to the
other end, which did not ask for it and may not mind (RFC 6455 section 5.5.3).

Source: RFC 6455 sections 5.5, 7.1.1 and 7.4.
"""

from __future__ import annotations

import asyncio
import os
from typing import cast

from bff.proxy.frames import (
    BAD_GATEWAY,
    GOING_AWAY,
    SERVICE_RESTART,
    TOO_BIG,
    Close,
    FrameFollower,
    Opcode,
    close_frame,
    control_frame,
)
from bff.websocket_server import Tunnel

SESSION_ENDED = Close(4401, "session ended")
ENDING_SECONDS = 0.5
CLOSING_SECONDS = 5.0
_HIGH_WATER = 65_536


class Relay:
    """One WebSocket. Give `browser` and `upstream` their transports; then wait for `finished`.

    `max_message` is in bytes, `silence` the seconds after which a silent end is gone. `reason`
    tells, after the end, what ended it.
    """

    def __init__(self, *, max_message: int, deflate: bool, silence: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self.loop.create_future()
        self.reason = "closed"
        self.ending = False
        self._silence = silence
        self._timer: asyncio.TimerHandle | None = None
        follower = FrameFollower(masked=True, max_message=max_message, deflate=deflate)
        self.browser = End(self, follower, client=False)
        follower = FrameFollower(masked=False, max_message=max_message, deflate=deflate)
        self.upstream = End(self, follower, client=True)
        self.browser.peer, self.upstream.peer = self.upstream, self.browser

    def end_session(self) -> None:
        """Close both ends, since the session has ended."""
        self.end("session_ended", SESSION_ENDED, Close(GOING_AWAY, "session ended"))

    def shut_down(self) -> None:
        """Close both ends, since the service stops."""
        self.end("shutdown", Close(SERVICE_RESTART), Close(GOING_AWAY))

    def end(self, reason: str, to_browser: Close, to_upstream: Close) -> None:
        """Close both ends with words of ours; cut what has not closed after a moment."""
        if self.ending or self.finished.done():
            return
        self.reason = reason
        self.ending = True
        self.browser.say_last(to_browser)
        self.upstream.say_last(to_upstream)
        self._cut_after(ENDING_SECONDS)

    def violated(self, culprit: End, fault: Close) -> None:
        """Close both ends, since one broke the protocol or a limit: that one hears which."""
        reason = "too_big" if fault.code == TOO_BIG else "protocol_error"
        if fault.code == TOO_BIG:
            self.end(reason, fault, fault)
        elif culprit is self.browser:
            self.end(reason, fault, Close(GOING_AWAY))
        else:
            self.end(reason, Close(BAD_GATEWAY, "not a WebSocket frame"), fault)

    def closed_by(self, end: End) -> None:
        """Note that an end's Close went on to the other; after both, the connections close."""
        if end.peer.follower.close is None:
            self._cut_after(CLOSING_SECONDS)
        else:
            self.browser.transport.close()
            self.upstream.transport.close()

    def left(self, end: End) -> None:
        """Note that an end hung up, or was lost, without a word."""
        if self.ending:
            return
        if end.peer.follower.close is not None:
            end.peer.transport.close()
        elif end.follower.close is not None:
            return
        elif end is self.browser:
            self.ending = True
            self.reason = "browser_left"
            self.upstream.transport.close()
            self._cut_after(ENDING_SECONDS)
        else:
            lost = Close(BAD_GATEWAY, "the connection was lost")
            self.end("upstream_left", lost, Close(GOING_AWAY))

    def lost(self) -> None:
        """Note that a connection is closed; after both, the relay is finished."""
        if self.browser.open or self.upstream.open or self.finished.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        self.finished.set_result(None)

    def look(self, now: float) -> None:
        """Ping an end that is silent; close both where it stays silent."""
        for end in (self.browser, self.upstream):
            if self.ending or not end.open:
                return
            if end.gone(now, self._silence):
                code = BAD_GATEWAY if end is self.upstream else GOING_AWAY
                self.end("silent", Close(code, "silent"), Close(GOING_AWAY, "silent"))

    def _cut_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        for end in (self.browser, self.upstream):
            if end.open:
                end.transport.abort()


class End(Tunnel):
    """One end. `follower` follows what comes from it; `client` tells that we are its client."""

    peer: End
    transport: asyncio.Transport

    def __init__(self, relay: Relay, follower: FrameFollower, *, client: bool) -> None:
        self._relay = relay
        self._client = client
        self._last: Close | None = None
        self._writable = self._reading = self.open = True
        self._heard_at = self._stalled_at = relay.loop.time()
        self._pinged_at: float | None = None
        self.follower = follower

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection on which the handshake is done."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Pass on what came."""
        relay = self._relay
        self._heard_at = relay.loop.time()
        self._pinged_at = None
        if relay.ending:
            self._hear_the_last(data)
            return
        follower = self.follower
        piece = follower.feed(data)
        if piece:
            self.peer.write(piece)
        if follower.fault is not None:
            relay.violated(self, follower.fault)
        elif follower.close is not None and piece:
            relay.closed_by(self)

    def eof_received(self) -> bool:
        """Hear that nothing more comes; after its Close an end may still wait for the other's."""
        self._relay.left(self)
        half_open = self.transport.get_extra_info("sslcontext") is None
        return half_open and self.follower.close is not None and not self._relay.ending

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is closed."""
        del exc
        self.open = False
        self.peer.resume_reading()
        self._relay.left(self)
        self._relay.lost()

    def pause_writing(self) -> None:
        """Hear that this end is slow: the other must wait."""
        self._writable = False
        self._stalled_at = self._relay.loop.time()
        self.peer.pause_reading()

    def resume_writing(self) -> None:
        """Hear that this end has caught up, which is a sign of life too."""
        self._writable = True
        self._heard_at = self._relay.loop.time()
        self._pinged_at = None
        self.peer.resume_reading()

    def pause_reading(self) -> None:
        """Read nothing from this end for now; its silence means nothing meanwhile."""
        if self._reading and self.open and not self._relay.ending:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from this end again."""
        if not self._reading and self.open and not self.transport.is_closing():
            self._reading = True
            self._heard_at = self._relay.loop.time()
            self._pinged_at = None
            self.transport.resume_reading()

    def shut_down(self) -> None:
        """Hear that the service stops."""
        self._relay.shut_down()

    def gone(self, now: float, silence: float) -> bool:
        """Whether this end gives no sign of life; asks for one where a third of the time is over.

        It is gone when it has not answered a ping, or not taken what waits for it.
        """
        if not self._writable:
            return now - self._stalled_at > silence
        if not self._reading or now - self._heard_at < silence / 3:
            return False
        if self._pinged_at is not None:
            return now - self._heard_at > silence
        if self.peer.follower.at_boundary and self.peer.follower.close is None:
            self._pinged_at = now
            self.write(control_frame(Opcode.PING, b"bff", self._key()))
        return False

    def write(self, data: bytes) -> None:
        """Send bytes to this end, unless its connection is closing."""
        if self.open and not self.transport.is_closing():
            self.transport.write(data)

    def say_last(self, close: Close) -> None:
        """Close this end, now or when the frame that is under way to it is whole."""
        if not self.open:
            return
        self._last = close
        if self.peer.follower.close is not None:
            return
        if self.peer.follower.at_boundary:
            self.write(close_frame(close, self._key()))
        elif not self._writable or not self.peer.open:
            self.transport.abort()
            return
        self.resume_reading()

    def _hear_the_last(self, data: bytes) -> None:
        """Finish a frame for the other end; then wait for this end's Close, and drop the rest."""
        peer, follower = self.peer, self.follower
        if not follower.at_boundary:
            piece = follower.finish_frame(data)
            data = data[len(piece) :]
            if not peer._writable:
                peer.transport.abort()
            else:
                peer.write(piece)
                if follower.at_boundary and peer._last is not None:
                    peer.write(close_frame(peer._last, peer._key()))
        # One at fault is not hung up on at once: unread bytes would take our Close from it.
        follower.feed(data)
        if follower.close is not None:
            self.transport.close()

    def _key(self) -> bytes | None:
        return os.urandom(4) if self._client else None
