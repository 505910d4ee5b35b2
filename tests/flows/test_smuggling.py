"""Requests that two servers could read in two ways: refused, and the connection closed.

RFC 9112 sections 2.2, 3.2, 5.1, 5.2, 6.1 and 6.3; RFC 9110 5.5. Every request is sent to a route
without policy, so that what is let through by mistake is seen at the upstream.
"""

from __future__ import annotations

import pytest

from tests.support.raw_http import exchange, parse, request, said
from tests.support.site import Site

SMUGGLED = b"GET /open/smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(*fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """Return a POST on a keep-alive connection, with exactly these fields beside Host."""
    head = "".join(f"{field}\r\n" for field in ("Host: 127.0.0.1", *fields))
    return f"POST /open/first HTTP/{version}\r\n{head}\r\n".encode("latin-1") + body


def get(*lines: bytes, target: bytes = b"/open/first") -> bytes:
    """Return a GET whose lines after the first stand as they are given."""
    return (
        b"GET " + target + b" HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    )


FRAMING = {
    "length and coding": post(
        "Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\nX"
    ),
    "coding and length": post(
        "Transfer-Encoding: chunked", "Content-Length: 6", body=b"0\r\n\r\nX"
    ),
    "two lengths": post("Content-Length: 4", "Content-Length: 0", body=b"abcd"),
    "two equal lengths": post("Content-Length: 4", "Content-Length: 4", body=b"abcd"),
    "a list of lengths": post("Content-Length: 4, 4", body=b"abcd"),
    "a signed length": post("Content-Length: +4", body=b"abcd"),
    "a negative length": post("Content-Length: -4", body=b"abcd"),
    "a hexadecimal length": post("Content-Length: 0x4", body=b"abcd"),
    "an overflowing length": post("Content-Length: 18446744073709551620", body=b"abcd"),
    "an empty length": post("Content-Length:", body=b"abcd"),
    "an underscored length": post("Content-Length: 1_0", body=b"abcdefghij"),
    "another coding": post("Transfer-Encoding: gzip", body=b"abcd"),
    "two codings": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "coding twice": post(
        "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked, then identity": post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "chunked, then a foreign one": post(
        "Transfer-Encoding: chunked", "Transfer-Encoding: x", body=b"0\r\n\r\n"
    ),
    "a misspelt coding": post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "a quoted coding": post('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "a vertical tab before chunked": post("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "coding in HTTP/1.0": post("Transfer-Encoding: chunked", body=b"0\r\n\r\n", version="1.0"),
    "a chunk size that is no number": post(
        "Transfer-Encoding: chunked", body=b"zz\r\nab\r\n0\r\n\r\n"
    ),
    "a negative chunk size": post("Transfer-Encoding: chunked", body=b"-1\r\nab\r\n0\r\n\r\n"),
    "an overflowing chunk size": post(
        "Transfer-Encoding: chunked", body=b"10000000000000002\r\nab\r\n0\r\n\r\n"
    ),
    "a chunk longer than its size": post(
        "Transfer-Encoding: chunked", body=b"1\r\nabc\r\n0\r\n\r\n"
    ),
}

HEADS = {
    "no Host": get(b"Accept: */*"),
    "two Hosts": get(b"Host: a", b"Host: b"),
    "two equal Hosts": get(b"Host: a", b"Host: a"),
    "white space before the colon": get(b"Host: a", b"X-One : 1"),
    "white space before the first field": get(b" Host: a", b"Host: a"),
    "a folded field": get(b"Host: a", b"X-One: 1", b" folded"),
    "a bare CR in a value": get(b"Host: a", b"X-One: 1\rX-Two: 2"),
    "a bare CR before the fields": b"GET /open/first HTTP/1.1\rHost: a\r\n\r\n",
    "NUL in a value": get(b"Host: a", b"X-One: 1\x002"),
    "NUL in a name": get(b"Host: a", b"X-O\x00ne: 1"),
    "a field without colon": get(b"Host: a", b"X-One"),
    "a field without name": get(b"Host: a", b": one"),
    "a name that is no token": get(b"Host: a", b"X(One): 1"),
    "absolute-form": get(b"Host: a", target=b"http://other.example/open/first"),
    "absolute-form of this host": get(b"Host: 127.0.0.1", target=b"http://127.0.0.1/open/first"),
    "authority-form": b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n",
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a number sign in the target": get(b"Host: a", target=b"/open/first#/api"),
    "a space in the target": get(b"Host: a", target=b"/open/first /api"),
    "NUL in the target": get(b"Host: a", target=b"/open/\x00first"),
    "no path": get(b"Host: a", target=b"?x=1"),
    "an unknown version": b"GET /open/first HTTP/3.7\r\nHost: a\r\n\r\n",
    "no version": b"GET /open/first\r\nHost: a\r\n\r\n",
    "a method that is no token": b"G@T /open/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

HUGE = {
    "a huge field": get(b"Host: a", b"X-One: " + b"a" * 70_000),
    "many fields": get(b"Host: a", *(b"X-%d: 1" % number for number in range(200))),
    "large fields": get(b"Host: a", *(b"X-%d: " % number + b"a" * 1000 for number in range(80))),
    "a huge name": get(b"Host: a", b"X" * 70_000 + b": 1"),
    "a huge target": get(b"Host: a", target=b"/open/" + b"a" * 70_000),
    "a huge query": get(b"Host: a", target=b"/open/first?" + b"a" * 70_000),
}


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING.keys())
async def test_ambiguous_framing_ends_the_connection(site: Site, data: bytes) -> None:
    """400, nothing after it, and what was hidden in the body never becomes a request."""
    before = len(site.upstream.requests)
    answer = parse(await said(site.base_url, data + SMUGGLED))
    assert (answer.status, answer.rest) == (400, b"")
    assert answer.headers["connection"] == "close"
    reached = [line for line, _ in site.upstream.requests[before:]]
    assert all("/open/smuggled" not in line for line in reached)


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS.keys())
async def test_a_malformed_head_is_refused(site: Site, data: bytes) -> None:
    """400, the connection is closed, and nothing reaches the upstream."""
    before = len(site.upstream.requests)
    answer = parse(await said(site.base_url, data + SMUGGLED))
    assert (answer.status, answer.rest) == (400, b"")
    assert answer.headers["content-type"] == "application/problem+json"
    reached = [line for line, _ in site.upstream.requests[before:]]
    # A POST is of an earlier test: the upstream may notice late what we began there.
    assert [line for line in reached if not line.startswith("POST ")] == []


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE.keys())
async def test_a_huge_head_is_refused_as_too_large(site: Site, data: bytes) -> None:
    """431, and the connection is closed, wherever the bytes stand."""
    before = len(site.upstream.requests)
    answer = parse(await said(site.base_url, data))
    assert answer.status == 431
    assert answer.headers["connection"] == "close"
    assert site.upstream.requests[before:] == []


async def test_a_head_that_never_ends_is_refused_before_it_fills_memory(site: Site) -> None:
    """431 as soon as the limit is passed, though the head is not complete."""
    endless = b"GET / HTTP/1.1\r\nHost: a\r\nX-One: " + b"a" * 200_000
    answer = parse(await said(site.base_url, endless))
    assert answer.status == 431


async def test_a_trailer_never_joins_the_fields_of_the_head(site: Site) -> None:
    """Not even when head, body and trailers come in one piece: dropped (RFC 9110 6.5.1)."""
    trailers = b"X-Late: 1\r\nCookie: bff=x\r\n"
    body = b"4\r\nabcd\r\n0\r\n" + trailers + b"\r\n"
    data = request("/open/x", "Transfer-Encoding: chunked", method="POST", body=body)
    assert (await exchange(site.base_url, data)).status == 200
    fields = {name.lower() for name, _ in site.upstream.requests[-1][1].items()}
    assert not fields & {"x-late", "cookie"}


async def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(site: Site) -> None:
    """While an answer is owed, a broken next request only ends the connection."""
    first = b"GET /open/slow HTTP/1.1\r\nHost: a\r\n\r\n"
    assert await said(site.base_url, first + get(b"Host: a", b"Host: b")) == b""


async def test_what_is_well_formed_still_passes(site: Site) -> None:
    """The strictness above refuses nothing that a browser sends."""
    assert (await exchange(site.base_url, request("/open/first"))).status == 200
    length = request("/open/x", "Content-Length: 4", method="POST", body=b"abcd")
    assert (await exchange(site.base_url, length)).status == 200
    chunked = request(
        "/open/x", "Transfer-Encoding: Chunked", method="POST", body=b"4\r\nabcd\r\n0\r\n\r\n"
    )
    assert (await exchange(site.base_url, chunked)).status == 200
    old = b"GET /open/first HTTP/1.0\r\n\r\n"
    assert (await exchange(site.base_url, old)).status == 200


async def test_two_requests_on_one_connection_are_both_answered_in_order(site: Site) -> None:
    """Pipelining does not mix answers up (RFC 9112 9.3.2)."""
    first = b"GET /bff/session HTTP/1.1\r\nHost: a\r\n\r\n"
    heard = parse(await said(site.base_url, first + request("/bff/healthz")))
    assert b'"authenticated":false' in heard.body
    assert b'"status":"ok"' in parse(heard.rest).body
