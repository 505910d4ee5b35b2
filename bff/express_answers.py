"""Answers to known requests: made as the ordinary way makes them, or found to be known themselves.

What passes of an answer, and what is added, is said by the proxy and the gate alone; a form of an
earlier answer (`known_answers`) is what these said of that one.
"""

from __future__ import annotations

from typing import NamedTuple

from bff.answer_head import Fields, encode_answer, encode_fields
from bff.gate import Gate
from bff.known_answers import Key, KnownAnswers
from bff.proxy.http import HttpProxy
from bff.proxy.response import UpstreamResponse
from bff.proxy.route import Route


class Asked(NamedTuple):
    """A known request, as far as its answer depends on it."""

    route: Route
    request_id: bytes
    origin: bytes | None


class ExpressAnswers:
    """The answers of one gate and its proxy to requests with a session."""

    def __init__(self, gate: Gate, proxy: HttpProxy) -> None:
        self._gate = gate
        self._proxy = proxy
        self._known = KnownAnswers()
        self._server_fields: Fields = ()
        self._server_lines = b""

    def known(self, asked: Asked, data: bytes, server_fields: Fields) -> bytes | None:
        """Return the whole answer to what an upstream sent, if that is whole and known."""
        if server_fields is not self._server_fields:  # they are made anew once a second
            self._server_lines = encode_fields(server_fields)
            self._server_fields = server_fields
        return self._known.find(self._key(asked), data, self._server_lines, asked.request_id)

    def made(self, asked: Asked, result: UpstreamResponse, server_fields: Fields) -> bytes:
        """Return the whole answer; nothing where the connection would not go on after it.

        Raises RuntimeError where it cannot be sent.
        """
        fields = self._proxy.fields(asked.route, result, with_session=True)
        arrival = self._gate.arrival(asked.request_id.decode(), asked.origin)
        head = encode_answer(
            result.status,
            server_fields,
            arrival.dress(fields),
            head_only=False,
            knows_chunks=True,
            keep_alive=True,
        )
        return head.with_body(result.rest()) if head.keep_alive else b""

    def learn(self, asked: Asked, data: bytes, result: UpstreamResponse, now: float) -> None:
        """Let answers like this one be known, after which the connection to the upstream goes on.

        `data` is what came first of it; that is all of it, or nothing is learnt.
        """

        def ours() -> bytes:
            return self.made(asked, result, ())

        self._known.learn(self._key(asked), data, asked.request_id, ours, now)

    def _key(self, asked: Asked) -> Key:
        origin = asked.origin
        return id(asked.route), None if origin is None else self._gate.across(origin)
