"""Answers whose head is known: it differs from an earlier one in four values alone. Pure.

An upstream says nearly the same before each of its bodies: but for `Content-Length`, `Date`, `ETag`
and a request id, the bytes are those of the answers before. What the browser is told then follows
from the earlier answer, which was parsed, judged and dressed as every other.

Rules: only a final answer that came whole, after which the connection went on; only bytes that the
strict parser took, compared one by one, but for the four values, of which the length is digits, as
many as there are bytes, and the others are visible; only what has come twice is kept; a form that
does not give, of the answer it is made of, what the ordinary way gave, is not kept. Bounded in
number and size, and in how often one is tried: an upstream may never say the same twice.

Source: RFC 9112 sections 5 and 6.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bff.memo import Marks

LARGEST = 2048
FORMS = 8  # of one route and origin; what is not found has been compared with so many
LOOKS = 32  # answers that are looked at in a while: making a form costs as much as ten of them
A_LOOK = 512  # bytes of a head, for which that holds; a larger one counts as several
A_WHILE = 1.0
_HEAD_END = b"\r\n\r\n"
_FINAL = re.compile(rb"HTTP/1\.[01] [2-5]")  # what is said ahead of an answer is no answer (1xx)
_VARYING = re.compile(rb"(?i)\r\n(content-length|date|etag|x-request-id):([^\r\n]*)")
_IN = {
    b"content-length": rb" (?P<length>[0-9]{1,9})",
    b"date": rb"[\t -~]*",
    b"etag": rb"(?P<etag>[\t -~]*)",
    b"x-request-id": rb"[\t -~]*",
}
_OUT = re.compile(rb"\r\n(etag|content-length|x-request-id): ([^\r\n]*)")
_ORDER = [b"etag", b"content-length", b"x-request-id"]
Key = tuple[int, bytes | None]


class AnswerForm:
    """The head of an upstream's answer, and that of ours to it, with blanks in both."""

    __slots__ = ("_etag", "_matches", "_pieces")

    def __init__(self, pattern: bytes, encoded: bytes) -> None:
        """`encoded` is a head made of one like it. Raises ValueError where that has no form."""
        self._matches = re.compile(pattern).match
        at = encoded.find(b"\r\n") + 2
        blanks = list(_OUT.finditer(encoded, at - 2))
        names = [blank[1] for blank in blanks]
        self._etag = names == _ORDER and b"<etag>" in pattern
        if not self._etag and names != _ORDER[1:]:
            raise ValueError("the blanks are others")
        pieces = [encoded[:at]] + [b""] * (not self._etag)
        for blank in blanks:
            begin, end = blank.span(2)
            pieces.append(encoded[at:begin])
            at = end
        self._pieces = (*pieces, encoded[at:])

    def answer(self, data: bytes, server_fields: bytes, request_id: bytes) -> bytes | None:
        """Return our answer to what an upstream sent; None where that is no whole such answer.

        `server_fields` are those that the server puts first, as bytes.
        """
        found = self._matches(data)
        if found is None:
            return None
        end = found.end()
        length: bytes = found["length"]
        if len(data) - end != int(length):
            return None
        status, before, between, to_id, after = self._pieces
        etag = found["etag"].strip(b" \t") if self._etag else b""
        return b"".join(
            (status, server_fields, before, etag, between, length, to_id, request_id, after,
             data[end:])
        )  # fmt: skip


class KnownAnswers:
    """The forms of one worker, by `(id(route), origin)`; times are in seconds.

    `origin` is that of a page which may read the answer though it is another's, else None.
    """

    def __init__(self) -> None:
        self._forms: dict[Key, list[AnswerForm]] = {}
        self._marks = Marks()
        self._looks = 0
        self._looks_until = float("-inf")

    def find(self, key: Key, data: bytes, server_fields: bytes, request_id: bytes) -> bytes | None:
        """Return our answer to what an upstream sent, if that is known."""
        forms = self._forms.get(key)
        if forms is not None:
            for number, form in enumerate(forms):
                answer = form.answer(data, server_fields, request_id)
                if answer is not None:
                    if number:
                        del forms[number]
                        forms.insert(0, form)
                    return answer
        return None

    def learn(
        self, key: Key, data: bytes, request_id: bytes, ours: Callable[[], bytes], now: float
    ) -> None:
        """Keep the form of an answer that came whole, if one like it has come before.

        `ours` makes our answer to it, without the server's own fields.
        """
        if not self._may_look(data, now):
            return
        pattern = pattern_of(data)
        if pattern is None or self._marks.is_new((key, pattern)):
            return
        answer = ours()
        head, end, _ = answer.partition(_HEAD_END)
        try:
            form = AnswerForm(pattern, head + end)
        except ValueError:
            return
        if form.answer(data, b"", request_id) == answer:
            forms = self._forms.setdefault(key, [])
            forms.insert(0, form)
            del forms[FORMS:]

    def _may_look(self, data: bytes, now: float) -> bool:
        if now >= self._looks_until:
            self._looks = 0
            self._looks_until = now + A_WHILE
        self._looks += 1 + max(0, data.find(_HEAD_END, 0, LARGEST)) // A_LOOK
        return self._looks <= LOOKS


def pattern_of(data: bytes) -> bytes | None:
    """Return what matches the heads that are known by this one; None where that has no form."""
    end = data.find(_HEAD_END)
    if not 0 < end <= LARGEST or not _FINAL.match(data):
        return None
    pattern: list[bytes] = []
    at = 0
    names: set[bytes] = set()
    for field in _VARYING.finditer(data, 0, end):
        name = field[1].lower()
        if name in names:
            return None
        names.add(name)
        pattern += (re.escape(data[at : field.start(2)]), _IN[name])
        at = field.end(2)
    if b"content-length" not in names:
        return None
    return b"".join((*pattern, re.escape(data[at : end + len(_HEAD_END)])))
