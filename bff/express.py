"""The common case without ASGI: a known request is carried within the callbacks of two connections.

A GET that differs from an earlier one in target and a few values alone (`forms`), whose session is
at hand and whose upstream has an idle connection, goes out as it comes in, without being parsed
field by field, and its answer goes back as soon as that is here to its end: no task, no messages,
no `await`. An answer that differs from an earlier one in a few values alone is not parsed either
(`known_answers`). What is judged, added, dropped and sent is said by the same functions as
everywhere (`Gate`, `HttpProxy`); nothing here has a rule of its own.

Rules: every doubt ends this way and begins the ordinary one, from where the request is. Before
anything was sent, the request is served as if nobody had looked at it (so every refusal is made,
and logged, there). Afterwards it lands: what came is parsed, and a task takes over, for an answer
that is long or of unknown length, a 401, an error, a client that does not read, or that sends more
before it has its answer; and for a request that lasts, or that a stopping server waits for. Of an
answer nothing is sent before it is settled that all of it can be.

Flow: the server offers what a client sent (`StrictHttpProtocol`); a `Flight` is told of the answer
by the upstream's connection, and writes it, or lands.
"""

from __future__ import annotations

import asyncio
from typing import cast

from starlette.types import Receive, Scope, Send

from bff.exchange import Line
from bff.express_answers import Asked, ExpressAnswers
from bff.gate import REQUEST_ID, Gate
from bff.proxy.admission import Grant
from bff.proxy.connection import UpstreamConnection
from bff.proxy.departure import Departure
from bff.proxy.expectant import Exchange
from bff.proxy.forms import LARGEST, end_of_line, key_of, split
from bff.proxy.http import HttpProxy
from bff.proxy.response import HIGH_WATER, UpstreamResponse
from bff.proxy.route import target
from bff.proxy.upstream import UpstreamPool

_UNAUTHORIZED = 401
_LONGEST = len(str(HIGH_WATER))
_IN_QUERY = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))


class Express:
    """Carries what can be carried at once. Belongs to one gate and its proxy."""

    def __init__(self, gate: Gate, proxy: HttpProxy) -> None:
        self.gate = gate
        self.proxy = proxy
        self.answers = ExpressAnswers(gate, proxy)

    def __call__(self, line: Line, data: bytes) -> Flight | None:
        """Take a request, or leave it: then None is returned, and nothing was sent."""
        end = -1 if len(data) > LARGEST else end_of_line(data)
        if end < 0 or line.client is None:
            return None
        raw_path, _, query = data[4 : end - 9].partition(b"?")
        pieces = split(data[end:])
        if len(pieces) == 1 or query.translate(None, _IN_QUERY):
            return None
        gate, proxy = self.gate, self.proxy
        try:
            _, route = gate.find(raw_path, query)
            if route is None:
                return None
            known = proxy.forms.get(key_of(route, pieces))
            if known is None:
                return None
            pool = proxy.upstreams.of(route)
            if not isinstance(pool, UpstreamPool) or not pool.idle:
                return None
            values = pieces[2::3]
            grant = proxy.admission.known(route, values[known.cookies])
            if grant is None or grant.authorization is None or grant.proof_key is not None:
                return None
            given = b"" if known.request_id is None else values[known.request_id]
            request_id = given if REQUEST_ID.fullmatch(given) else gate.new_id().encode("ascii")
            forwarded = () if known.forwarded_for is None else (values[known.forwarded_for],)
            client = gate.client(line.client[0], forwarded).encode("ascii")
            head = known.form.filled(
                target(route, raw_path, query),
                (grant.authorization, request_id, client, *values),
            )
        except Exception:  # noqa: BLE001 - whatever it is, it is met again, and answered, there
            return None
        asked = Asked(route, request_id, known.origin)
        flight = Flight(self, line, data, asked, grant, pool)
        return flight if flight.begin(head) else None


class Flight:
    """A request under way: who waits for the head of its answer (`Expectant`)."""

    __slots__ = (
        "_asked", "_connection", "_data", "_departure", "_done", "_exchange", "_express", "_grant",
        "_line", "_outcome", "_pool", "_result", "_whole",
    )  # fmt: skip

    def __init__(
        self,
        express: Express,
        line: Line,
        data: bytes,
        asked: Asked,
        grant: Grant,
        pool: UpstreamPool,
    ) -> None:
        self._express = express
        self._line: Line | None = line
        self._data = data
        self._asked = asked
        self._grant = grant
        self._pool = pool
        self._done = False
        self._exchange: Exchange | None = None
        self._connection: UpstreamConnection | None = None
        self._whole: bytes | None = None  # what came first of the answer, not being known
        self._result: UpstreamResponse | None = None
        self._departure: Departure | None = None
        self._outcome: asyncio.Future[UpstreamResponse] | None = None

    def begin(self, head: bytes) -> bool:
        """Send the request; False where there is no connection to send it on."""
        timeout = self._asked.route.timeout
        self._exchange = Exchange(
            b"GET", head, None, None, 0.0, timeout, timeout, self._gone, self._take
        )
        self._connection = self._pool.send_at_once(self._exchange, self)
        return self._connection is not None

    # Of the client's connection

    def land(self) -> None:
        """Let a task go on with the request from where it is."""
        assert self._line is not None
        self._outcome = asyncio.get_running_loop().create_future()
        line, self._line = self._line, None
        exchange = line.hand_over(self._data, self._go_on)
        self._departure = self._express.proxy.departure(
            self._grant, cast("Scope", exchange.scope), cast("Receive", exchange.receive)
        )
        if self._result is not None:
            self._tell(self._result)

    def drop(self) -> None:
        """Give the request up: its client has left."""
        exchange, connection = self._exchange, self._connection
        assert exchange is not None
        assert connection is not None
        self._let_go()
        connection.give_up(exchange)

    def _let_go(self) -> None:
        """Be no ring of references, which only the garbage collector would find."""
        self._line = self._exchange = self._connection = self._result = None

    # Of the connection to the upstream

    def done(self) -> bool:
        """Whether the head has come, or will not."""
        return self._done

    def _take(self, data: bytes) -> bool:
        """Send the answer that came, if it is all here and known."""
        line = self._line
        if line is None or not line.reads:
            return False
        server_fields = line.server_state.default_headers
        answer = self._express.answers.known(self._asked, data, server_fields)
        if answer is None:
            self._whole = data
            return False
        self._let_go()
        line.answered(answer)
        return True

    def set_result(self, result: UpstreamResponse, /) -> None:
        """Send the answer, or wait for its end if that is near; else a task goes on with it."""
        self._done = True
        self._result = result
        if self._line is None:
            self._tell(result)
        elif result.status == _UNAUTHORIZED or not self._line.reads:
            self.land()
        elif result.complete:
            self._end()
        elif _is_short(result):
            self._whole = None
            result.when_over(self._end)
        else:
            self.land()

    def set_exception(self, exception: Exception, /) -> None:
        """Let the ordinary way say what becomes of the request."""
        self._done = True
        if self._line is not None:
            self.land()
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(exception)

    def _tell(self, result: UpstreamResponse) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(result)

    def _end(self) -> None:
        """Send the answer, whose body is here or will never be."""
        line, result = self._line, self._result
        if line is None:
            return
        assert result is not None
        answers = self._express.answers
        answer = b""
        if result.complete and line.reads:
            try:
                answer = answers.made(self._asked, result, line.server_state.default_headers)
            except Exception:  # noqa: BLE001 - it is met again there, and logged
                answer = b""
        if answer:
            connection, whole = self._connection, self._whole
            if whole is not None and connection is not None and connection.usable:
                answers.learn(self._asked, whole, result, connection.idle_since)
            self._let_go()
            line.answered(answer)
        else:
            self.land()

    async def _gone(self) -> None:
        """Return when nobody wants the answer any more."""
        if self._line is not None:
            self.land()
        if self._departure is not None:
            await self._departure.wait()

    async def _go_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._express.gate
        await gate.serve(
            gate.arrive(scope, self._asked.request_id.decode()), self._enter, scope, receive, send
        )

    async def _enter(
        self, scope: Scope, _receive: Receive, send: Send, _origin: bytes | None
    ) -> None:
        assert self._departure is not None
        await self._express.proxy.carry(
            self._asked.route, self._grant, scope, send, self._departure, self._first()
        )

    async def _first(self) -> UpstreamResponse:
        """Return the answer that came, or that comes when a stale connection is made up for."""
        outcome, exchange = self._outcome, self._exchange
        assert outcome is not None
        assert exchange is not None
        self._exchange = self._result = None  # no ring, as above
        try:
            return await outcome
        except Exception as error:  # noqa: BLE001 - `again` raises it
            return await self._pool.again(exchange, error)
        finally:
            self._outcome = None


def _is_short(result: UpstreamResponse) -> bool:
    """Whether an answer says that its body is short: then its end is waited for, a moment."""
    for name, value in result.headers:
        if name == b"content-length":
            # By its digits first: Python refuses to read thousands, and noughts may be as many.
            return len(value) <= _LONGEST and int(value) <= HIGH_WATER
    return False
