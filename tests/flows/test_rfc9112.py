"""RFC 9112 on bodies and connections, rule by rule, and the test that holds us to each.

Two connections meet in the service: we are the server on one and the client on the other. All the
tests that are named here speak by raw socket. Those below are what no other file is about.
"""

from __future__ import annotations

import ast
import asyncio
from functools import cache
from pathlib import Path

import pytest

from tests.support.open_proxy import PATIENCE, OpenProxy
from tests.support.raw_http import request, said
from tests.support.raw_upstream import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SERVER = "tests/flows/test_smuggling.py::"
CLIENT = "tests/unit/proxy/test_framing.py::"
STREAM = "tests/unit/proxy/test_upstream_streaming.py::"
POOL = "tests/unit/proxy/test_upstream.py::"
PROXY = "tests/flows/test_proxy.py::"
HERE = "tests/flows/test_rfc9112.py::"
AMBIGUOUS = SERVER + "test_ambiguous_framing_ends_the_connection"
MALFORMED = SERVER + "test_a_malformed_head_is_refused"
REFUSED = CLIENT + "test_an_answer_of_doubtful_framing_is_refused"
WHOLE = CLIENT + "test_a_whole_answer_gives_its_body_and_the_connection_only_without_doubt"
CUT = CLIENT + "test_an_answer_cut_short_raises_after_its_bytes"

RULES: dict[str, list[str]] = {
    "2.2: a bare CR is no line end": [
        MALFORMED + "[a bare CR in a value]", REFUSED + "[CR in a value]",
    ],
    "2.2: a line end is CR LF; LF alone is not taken of an upstream": [
        REFUSED + "[lines without CR]", REFUSED + "[chunk lines without CR]",
    ],
    "2.2: white space between start line and first field is refused": [
        MALFORMED + "[white space before the first field]",
    ],
    "2.3: an unknown version is refused": [
        MALFORMED + "[an unknown version]", REFUSED + "[HTTP/2.0]", REFUSED + "[HTTP/0.9]",
    ],
    "3.2: a target holds no white space, and a request one valid Host": [
        MALFORMED + "[a space in the target]", MALFORMED + "[no Host]", MALFORMED + "[two Hosts]",
    ],
    "3.2.2: absolute-form, which a proxy would have to resolve, is refused": [
        MALFORMED + "[absolute-form]", MALFORMED + "[authority-form]",
    ],
    "5.1: no white space between name and colon": [
        MALFORMED + "[white space before the colon]", REFUSED + "[space before the colon]",
    ],
    "5.2: a folded line is refused": [
        MALFORMED + "[a folded field]", REFUSED + "[folded line]",
    ],
    "6: a request body is signalled by Content-Length or Transfer-Encoding": [
        STREAM + "test_a_body_of_known_length_goes_out_with_its_length",
        STREAM + "test_a_body_of_unknown_length_goes_out_chunked",
        POOL + "test_framing_of_a_short_body",
    ],
    "6.1: chunked is the last coding, applied once": [
        AMBIGUOUS + "[coding twice]", AMBIGUOUS + "[chunked, then identity]",
        REFUSED + "[chunked twice]", REFUSED + "[chunked, gzip]",
    ],
    "6.1: a coding that is not understood is refused": [
        AMBIGUOUS + "[another coding]", AMBIGUOUS + "[two codings]",
        AMBIGUOUS + "[a misspelt coding]", REFUSED + "[gzip, chunked]", REFUSED + "[xchunked]",
    ],
    "6.1: codings are compared without regard to case": [
        SERVER + "test_what_is_well_formed_still_passes", WHOLE + "[chunked in capitals]",
    ],
    "6.1: Transfer-Encoding with Content-Length is an attack": [
        AMBIGUOUS + "[length and coding]", AMBIGUOUS + "[coding and length]",
        REFUSED + "[length and chunked]", REFUSED + "[chunked and length]",
    ],
    "6.1: Transfer-Encoding in HTTP/1.0 is faulty framing": [
        AMBIGUOUS + "[coding in HTTP/1.0]", REFUSED + "[chunked in HTTP/1.0]",
    ],
    "6.1: no Transfer-Encoding goes to a client of HTTP/1.0": [
        HERE + "test_an_old_client_is_sent_no_chunks",
        HERE + "test_an_old_client_is_told_of_an_answer_cut_short",
    ],
    "6.1: no Transfer-Encoding in 1xx and 204": [
        WHOLE + "[204 chunked]", PROXY + "test_answers_without_body",
    ],
    "6.2: Content-Length is digits": [
        AMBIGUOUS + "[a signed length]", AMBIGUOUS + "[a negative length]",
        AMBIGUOUS + "[a hexadecimal length]", AMBIGUOUS + "[an empty length]",
        AMBIGUOUS + "[an underscored length]", REFUSED + "[length with a sign]",
        REFUSED + "[length in hexadecimal]", REFUSED + "[empty length]",
    ],
    "6.2: a length beyond what an integer holds is refused": [
        AMBIGUOUS + "[an overflowing length]", REFUSED + "[length beyond 64 bits]",
    ],
    "6.3 (1): no body in answer to HEAD": [
        CLIENT + "test_the_answer_to_head_has_no_body", PROXY + "test_answers_without_body",
        CLIENT + "test_a_body_in_answer_to_head_is_not_taken_for_the_next_answer",
    ],
    "6.3 (1): no body in 1xx, 204 and 304": [
        WHOLE + "[100 first]", WHOLE + "[103 that announces a body]",
        WHOLE + "[204 that announces a body]", WHOLE + "[304]",
    ],
    "6.3 (2): CONNECT has a rule of its own, and is refused": [
        MALFORMED + "[authority-form]",
        POOL + "test_a_head_that_would_be_read_as_another_is_not_sent",
    ],
    "6.3 (3): both fields: refused, not repaired": [
        AMBIGUOUS + "[length and coding]", REFUSED + "[length and chunked]",
    ],
    "6.3 (4): chunked ends where its last chunk does": [
        WHOLE + "[chunked]", STREAM + "test_a_body_of_unknown_length_goes_out_chunked",
    ],
    "6.3 (4): a coding that does not end in chunked: refused both ways": [
        AMBIGUOUS + "[chunked, then a foreign one]", REFUSED + "[chunked, gzip]",
    ],
    "6.3 (5): several lengths, or a list of them, alike or not, are refused": [
        AMBIGUOUS + "[two lengths]", AMBIGUOUS + "[two equal lengths]",
        AMBIGUOUS + "[a list of lengths]", REFUSED + "[two lengths that differ]",
        REFUSED + "[two lengths alike]", REFUSED + "[a list of lengths]",
    ],
    "6.3 (6): fewer bytes than announced are an incomplete message": [
        CUT + "[length]", PROXY + "test_an_answer_cut_short_never_looks_whole",
        PROXY + "test_an_upload_that_breaks_off_breaks_off_upstream",
        STREAM + "test_a_body_of_another_length_than_announced_is_not_passed_off",
    ],
    "6.3 (7): a request without either field has no body": [
        HERE + "test_what_follows_a_request_without_length_is_the_next_request",
    ],
    "6.3 (8): an answer without either field ends with the connection": [
        CLIENT + "test_the_end_of_the_connection_ends_a_body_without_length",
        HERE + "test_an_answer_that_ends_with_its_connection_gets_an_end_of_its_own",
    ],
    "6.3: bytes after the end are not an answer": [
        WHOLE + "[a byte too many]", WHOLE + "[two answers]",
        CLIENT + "test_bytes_nobody_asked_for_close_an_idle_connection",
    ],
    "7.1: a chunk size is hexadecimal digits that fit": [
        AMBIGUOUS + "[a chunk size that is no number]", AMBIGUOUS + "[a negative chunk size]",
        AMBIGUOUS + "[an overflowing chunk size]", AMBIGUOUS + "[a chunk longer than its size]",
        REFUSED + "[chunk size 0x3]", REFUSED + "[chunk size with a space]",
        REFUSED + "[no chunk size]", REFUSED + "[chunk size beyond 64 bits]",
        REFUSED + "[chunk longer than its size]",
    ],
    "7.1.1: chunk extensions are ignored, and bounded": [
        WHOLE + "[chunk extension]", CLIENT + "test_trailers_and_chunk_headers_are_bounded",
        HERE + "test_chunk_extensions_of_a_request_are_not_passed_on",
    ],
    "7.1.2: trailers are not merged into the head": [
        SERVER + "test_a_trailer_never_joins_the_fields_of_the_head",
        CLIENT + "test_trailers_are_not_merged_into_the_head",
    ],
    "8: a message cut short is treated as such": [
        CUT + "[chunk]", CUT + "[no last chunk]", CUT + "[no line after the last chunk]",
    ],
    "9.3: a connection goes on only where both sides say so": [
        WHOLE + "[says close]", WHOLE + "[HTTP/1.0]", WHOLE + "[HTTP/1.0 that stays]",
        STREAM + "test_an_early_answer_stands_and_costs_the_connection",
    ],
    "9.3.1: a request is repeated only where its method is idempotent": [
        POOL + "test_a_post_is_never_sent_twice",
        POOL + "test_a_stale_connection_is_replaced_once_for_a_request_that_can_be_repeated",
    ],
    "9.3.2: answers to pipelined requests keep their order": [
        SERVER + "test_two_requests_on_one_connection_are_both_answered_in_order",
    ],
    "9.8: a TLS connection that ends without close_notify is cut short": [
        "tests/unit/proxy/test_upstream_tls.py::"
        "test_the_end_of_a_body_without_length_must_be_signed",
    ],
    "11.1: no CR or LF leaves within a field": [
        POOL + "test_a_head_that_would_be_read_as_another_is_not_sent",
    ],
    "11.2: heads are bounded": [
        SERVER + "test_a_huge_head_is_refused_as_too_large[a huge field]",
        REFUSED + "[head of more than 64 KB]", REFUSED + "[endless interim answers]",
    ],
}  # fmt: skip


@cache
def _contents(file: str) -> tuple[set[str], set[str]]:
    """The functions of a test module, and every string in it."""
    nodes = list(ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))))
    functions = {
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    strings = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return functions, strings


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_test(rule: str) -> None:
    """The tests that the table names exist, down to the case."""
    root = Path(__file__).parents[2]
    for test in RULES[rule]:
        file, _, name = test.partition("::")
        function, _, case = name.removesuffix("]").partition("[")
        functions, strings = _contents(str(root / file))
        assert function in functions, test
        assert not case or case in strings, test


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_an_old_client_is_sent_no_chunks(proxy: OpenProxy, connection: str) -> None:
    """To HTTP/1.0 a body without length ends with the connection (RFC 9112 section 6.1)."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with proxy.upstream(answering(answer)):
        heard = await said(
            proxy.base_url, b"GET /open HTTP/1.0\r\nConnection: %b\r\n\r\n" % connection.encode()
        )
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head.lower()
    assert b"\r\nconnection: close" in head.lower()
    assert body == b"abcde"


async def test_an_old_client_is_told_of_an_answer_cut_short(proxy: OpenProxy) -> None:
    """Where only the end of the connection ends a body, a reset tells that it is no end."""
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    for answer, whole in ((cut, False), (cut + b"0\r\n\r\n", True)):
        passed_on = asyncio.Event()

        async def handle(
            peer: Peer, answer: bytes = answer, passed_on: asyncio.Event = passed_on
        ) -> None:
            await peer.head()
            await peer.say(answer[: len(cut)])
            await passed_on.wait()
            await peer.say(answer[len(cut) :])

        async with proxy.upstream(handle), proxy.connection() as (reader, writer):
            writer.write(b"GET /open HTTP/1.0\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(b"abc")
                passed_on.set()
                if whole:
                    assert await reader.read() == b""
                else:
                    with pytest.raises(ConnectionResetError):
                        await reader.read()


async def test_an_old_client_that_has_no_more_than_a_line_is_answered(proxy: OpenProxy) -> None:
    """With a length the answer is the same as to anybody."""
    async with proxy.upstream(answering(OK)) as upstream:
        heard = await said(proxy.base_url, b"GET /open HTTP/1.0\r\n\r\n")
        assert upstream.requests[0].startswith(b"GET /open HTTP/1.1\r\nhost: 127.0.0.1:")
    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: 2" in head
    assert body == b"ok"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_that_ends_with_its_connection_gets_an_end_of_its_own(
    proxy: OpenProxy, version: bytes
) -> None:
    """The browser's connection goes on: what had no length is chunked for it."""
    answer = b"HTTP/%b 200 OK\r\nContent-Type: text/plain\r\n\r\nabc" % version
    upstream = proxy.upstream(answering(answer, close=True))
    async with upstream, proxy.connection() as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"\r\ntransfer-encoding: chunked\r\n" in head
                assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"


async def test_what_follows_a_request_without_length_is_the_next_request(proxy: OpenProxy) -> None:
    """It is not its body, even where the method usually has one (RFC 9112 section 6.3)."""
    second = request("/open/second")
    async with proxy.upstream(answering(OK)) as upstream:
        heard = await said(proxy.base_url, b"POST /open/first HTTP/1.1\r\nHost: a\r\n\r\n" + second)
        lines = [head.split(b"\r\n")[0] for head in upstream.requests]
        assert b"\r\ncontent-length: 0\r\n" in upstream.requests[0]
    assert lines == [b"POST /open/first HTTP/1.1", b"GET /open/second HTTP/1.1"]
    assert heard.count(b"HTTP/1.1 200 ") == 2


async def test_chunk_extensions_of_a_request_are_not_passed_on(proxy: OpenProxy) -> None:
    """The body that goes out is framed by us (RFC 9112 section 7.1.1)."""
    body = b""

    async def handle(peer: Peer) -> None:
        nonlocal body
        assert b"\r\ncontent-length: 3\r\n" in await peer.head()
        body = await peer.reader.readexactly(3)
        await peer.say(OK)
        await peer.until_closed()

    chunks = b'3;a="\t0";b\r\nabc\r\n0;c=d\r\n\r\n'
    async with proxy.upstream(handle):
        answer = await proxy.ask("/open", "Transfer-Encoding: chunked", method="POST", body=chunks)
    assert answer.status == 200
    assert body == b"abc"
