"""The forms of answers: what is kept, how much of it, and what it takes."""

from __future__ import annotations

import re

import pytest

from bff.known_answers import A_LOOK, A_WHILE, FORMS, LARGEST, LOOKS, KnownAnswers, pattern_of

KEY = (1, None)
ID = b"0123"


def theirs(number: int, body: bytes = b"abc") -> bytes:
    """Return what an upstream says."""
    head = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: %d\r\nDate: now\r\n\r\n"
    return head % (number, len(body)) + body


def ours(number: int, body: bytes = b"abc", request_id: bytes = ID) -> bytes:
    """Return what we say then."""
    head = b"HTTP/1.1 200 OK\r\nx-number: %d\r\ncontent-length: %d\r\nx-request-id: %b\r\n\r\n"
    return head % (number, len(body), request_id) + body


class Learner:
    """What is known, and how often an answer was made for it."""

    def __init__(self) -> None:
        self.answers = KnownAnswers()
        self.made = 0

    def learn(self, number: int, now: float = 0.0, answer: bytes | None = None) -> None:
        def make() -> bytes:
            self.made += 1
            return ours(number) if answer is None else answer

        self.answers.learn(KEY, theirs(number), ID, make, now)

    def knows(self, number: int) -> bool:
        return self.answers.find(KEY, theirs(number), b"", ID) is not None


def test_what_came_twice_is_known() -> None:
    """Not what came once; and then with another body, length, date and request id."""
    learner = Learner()
    learner.learn(1)
    assert not learner.knows(1)
    learner.learn(1)
    assert learner.knows(1)
    assert not learner.knows(2)
    later = theirs(1, b"another body").replace(b"now", b"then")
    found = learner.answers.find(KEY, later, b"date: today\r\n", b"4567")
    expected = ours(1, b"another body", b"4567")
    assert found == expected.replace(b"OK\r\n", b"OK\r\ndate: today\r\n")
    assert learner.answers.find((2, None), later, b"", ID) is None
    assert learner.answers.find((1, b"https://x"), later, b"", ID) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        ours(1, b"abd"),
        ours(1).replace(b"content-length: 3", b"content-length: 4"),
        ours(1).replace(b"content-length: 3\r\n", b""),
        ours(1).replace(b"x-number", b"etag"),
        ours(1).replace(b"x-number: 1", b"x-request-id: 1"),
        ours(1).replace(b"\r\ncontent", b"\r\nx-request-id: 0123\r\ncontent", 1),
        ours(1).replace(b"0123", b"0124"),
    ],
)
def test_what_is_not_told_in_full_is_not_kept(answer: bytes) -> None:
    """The form has to give, of the answer it is made of, what the ordinary way gave."""
    learner = Learner()
    for _ in range(3):
        learner.learn(1, answer=answer)
    assert learner.made == 2
    assert not learner.knows(1)


def test_the_latest_forms_are_kept() -> None:
    """Those that were used last."""
    learner = Learner()
    for number in range(FORMS + 2):
        for _ in range(2):
            learner.learn(number, now=number * A_WHILE)
        assert learner.knows(0), "it is used all the time"
    kept = [number for number in range(FORMS + 2) if learner.knows(number)]
    assert kept == [0, *range(3, FORMS + 2)]


def test_what_never_comes_twice_costs_little() -> None:
    """Only so many answers are looked at in a while."""
    learner = Learner()
    for number in range(LOOKS):
        learner.learn(number)
    learner.learn(0)
    assert not learner.knows(0)
    learner.learn(0, now=A_WHILE)
    assert learner.knows(0)
    assert learner.made == 1


def test_large_heads_cost_no_more() -> None:
    """What is done for an answer grows with its head, so fewer of them are looked at."""
    learner = Learner()
    large = theirs(1).replace(b"Date: ", b"X: %b\r\nDate: " % (b"a" * 3 * A_LOOK))
    for _ in range(LOOKS // 4 + 1):
        learner.answers.learn(KEY, large, ID, lambda: b"", 0.0)
    for _ in range(3):
        learner.learn(2)
    assert not learner.knows(2)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: a\r\nEtag: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: %b\r\n\r\n" % (b"a" * LARGEST),
        b"HTTP/1.1 200 OK\r\nX-Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_some_answers_have_no_form(data: bytes) -> None:
    """Those without one length, with a value twice, with a large head, or interim ones."""
    assert pattern_of(data) is None


def test_a_form_takes_its_bytes_alone() -> None:
    """Every byte but those of the values is compared, whatever it means in a pattern."""
    data = b"HTTP/1.1 200 OK\r\nX: a.b*c\r\nContent-Length: 1\r\nEtag: (x)\r\nZ:[y]\r\n\r\n"
    pattern = pattern_of(data + b"z")
    assert pattern is not None
    found = re.match(pattern, data)
    assert found is not None
    assert found.end() == len(data)
    assert (found["length"], found["etag"].strip()) == (b"1", b"(x)")
    values = {*range(data.index(b"1\r\nEtag"), data.index(b"\r\nEtag"))}
    values |= {*range(data.index(b" (x)"), data.index(b"\r\nZ"))}
    for at in range(len(data)):
        other = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert (re.match(pattern, other) is not None) == (at in values), other
