"""What passes in the heads of requests and answers, and what is added. Pure.

Rules: whatever could tell a backend who is calling, or from where, is dropped before ours is added,
so that nothing the browser sends, and nothing it names in `Connection`, can stand for it or take it
away; names that hold `_` are dropped, since some backends read them as `-`, and a name with other
marks (`X.Forwarded.User`) is judged as if they were `-`; everything else passes, byte for byte. Of
an answer, what is this origin's own to say is dropped, and no cookie of ours can be set. The lists
are data; a name is judged once and remembered.

Source: contract, section 5; RFC 9110 section 7.6 (connection fields, Via), RFC 9111 section 5.2.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple

from bff.memo import Memo
from bff.proxy.caching import NO_STORE, private_cache_control
from bff.proxy.wire import TOKEN

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade",
     b"http2-settings"}
)  # fmt: skip
REQUEST_NAMES = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"authorization", b"dpop", b"forwarded", b"x-forwarded",
    b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip",
    b"cf-connecting-ipv6", b"fastly-client-ip", b"x-azure-clientip", b"x-azure-socketip",
    b"x-rewrite-url", b"x-method-override", b"x-groups", b"x-roles", b"x-access-token",
    b"x-id-token", b"x-csrf", b"x-request-id",
}  # fmt: skip
REQUEST_FAMILIES = (
    b"proxy-", b"x-forwarded-", b"x-original-", b"x-http-method", b"x-auth-", b"x-authenticated-",
    b"x-webauth-", b"x-remote-", b"remote-", b"x-user", b"x-email", b"client-cert", b"ssl-client-",
    b"x-ssl-", b"x-client-cert", b"x-amzn-oidc-", b"x-goog-iap-", b"x-goog-authenticated-",
    b"x-appengine-", b"cf-access-", b"x-ms-client-principal", b"x-ms-token-", b"x-envoy-",
    b"x-bff-",
)  # fmt: skip
ANSWER_NAMES = HOP_BY_HOP | {
    b"strict-transport-security", b"clear-site-data", b"alt-svc", b"service-worker-allowed",
    b"dpop-nonce", b"set-cookie2", b"date",
}  # fmt: skip
ANSWER_FAMILIES = (b"proxy-", b"access-control-", b"x-accel-")
CDN_CACHE_CONTROL = b"cdn-cache-control"
LOOKED_AT_REQUEST = frozenset({b"connection", b"cookie", b"via"})
LOOKED_AT_ANSWER = frozenset(
    {b"connection", b"content-length", b"set-cookie", b"vary", b"cache-control",
     b"surrogate-control"}
)  # fmt: skip
AS_HYPHENS = bytes.maketrans(b"!#$%&'*+.^`|~", b"-------------")
_NO_LENGTH = frozenset({204, 304})


class Judgement(enum.IntEnum):
    """What becomes of a field; PASS is nought, so that the common case is the cheapest."""

    PASS = 0
    DROP = 1
    LOOK = 2


class Caller(NamedTuple):
    """What the upstream is told of the request: all of it is ours to say.

    `via` is our own member of `Via`: protocol version and pseudonym.
    """

    host: bytes
    via: bytes
    forwarded_for: bytes
    forwarded_proto: bytes
    forwarded_host: bytes
    request_id: bytes


class OwnCookies:
    """The names of our cookies, and how to keep them from upstreams."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.encode().lower() for name in names)

    def without(self, value: bytes) -> bytes:
        """Return a `Cookie` value without our cookies."""
        kept = [pair for pair in value.split(b";") if not self._ours(pair)]
        return b";".join(kept).strip(b" \t")

    def sets(self, value: bytes) -> bool:
        """Whether a `Set-Cookie` value would make a browser send a cookie of our name.

        A browser takes `=name=value`, and `name` alone, for a cookie without a name, and sends it
        back as `name=value` (RFC 6265bis section 5.6).
        """
        return self._ours(value.partition(b";")[0].lstrip(b"= \t"))

    def _ours(self, pair: bytes) -> bool:
        return pair.partition(b"=")[0].strip(b" \t").lower() in self._names


def request_headers(
    incoming: Headers,
    caller: Caller,
    *,
    authorization: bytes | None,
    own_cookies: OwnCookies,
    keep_cookies: bool,
    let: frozenset[bytes] = frozenset(),
) -> Headers:
    """Return the fields of the request to the upstream; framing is left to its client.

    `incoming` has lower-case names. `authorization` is the whole value, such as `Bearer ...`.
    `let` names fields that pass though their family is dropped (`let_through` judged them).
    """
    headers: Headers = [(b"host", caller.host)]
    others: Headers = []
    for field in incoming:
        judgement = _OF_REQUESTS[field[0]]
        if not judgement:
            headers.append(field)
        elif judgement == Judgement.LOOK:
            others.append(field)
        elif let and field[0] in let:
            headers.append(field)
    via = caller.via
    if others:
        if named := _named_by(others, b"connection"):
            headers[1:] = [field for field in headers[1:] if field[0] not in named]
            others = [field for field in others if field[0] not in named]
        if keep_cookies:
            kept = (own_cookies.without(value) for name, value in others if name == b"cookie")
            headers += [(b"cookie", value) for value in kept if value]
        via = b", ".join([*(value for name, value in others if name == b"via"), via])
    if authorization is not None:
        headers.append((b"authorization", authorization))
    headers += (
        (b"via", via),
        (b"x-forwarded-for", caller.forwarded_for),
        (b"x-forwarded-proto", caller.forwarded_proto),
        (b"x-forwarded-host", caller.forwarded_host),
        (b"x-request-id", caller.request_id),
    )
    return headers


def response_headers(
    upstream: Headers,
    status: int,
    *,
    with_session: bool,
    cookies: bool,
    own_cookies: OwnCookies,
    let: frozenset[bytes] = frozenset(),
) -> Headers:
    """Return the fields of the answer to the browser. `upstream` has lower-case names.

    `with_session` tells that the request carried one: then no shared cache may keep the answer.
    `let` names fields that pass though they are dropped elsewhere (`let_through` judged them).
    """
    headers: Headers = []
    others: Headers = []
    for field in upstream:
        judgement = _OF_ANSWERS[field[0]]
        if not judgement:
            headers.append(field)
        elif judgement == Judgement.LOOK:
            others.append(field)
        elif let and field[0] in let:
            headers.append(field)
    if named := _named_by(others, b"connection"):
        headers = [field for field in headers if field[0] not in named]
        others = [field for field in others if field[0] not in named]
    for name, value in others:
        if name == b"content-length":
            keep = status not in _NO_LENGTH
        elif name == b"set-cookie":
            keep = cookies and not own_cookies.sets(value)
        else:
            keep = name != b"connection" and (name == b"vary" or not with_session)
        if keep:
            headers.append((name, value))
    if with_session:
        cache = [value for name, value in others if name == b"cache-control"]
        headers.append((b"cache-control", private_cache_control(cache) if cache else NO_STORE))
        if _named_by(others, b"vary").isdisjoint({b"*", b"cookie"}):
            headers.append((b"vary", b"Cookie"))
    return headers


def _judge_request(name: bytes) -> Judgement:
    if name in LOOKED_AT_REQUEST:
        return Judgement.LOOK
    if not name or b"_" in name or name.translate(None, TOKEN):
        return Judgement.DROP
    folded = name.translate(AS_HYPHENS)
    if folded in REQUEST_NAMES or folded.startswith(REQUEST_FAMILIES):
        return Judgement.DROP
    return Judgement.PASS


def _judge_answer(name: bytes) -> Judgement:
    if name in LOOKED_AT_ANSWER or name.endswith(CDN_CACHE_CONTROL):
        return Judgement.LOOK
    if name in ANSWER_NAMES or name.startswith(ANSWER_FAMILIES):
        return Judgement.DROP
    return Judgement.PASS


def _named_by(fields: Headers, wanted: bytes) -> set[bytes]:
    """Return the members of all fields of a name, each a list of tokens, in lower case."""
    members: set[bytes] = set()
    for name, value in fields:
        if name == wanted:
            members |= _MEMBERS[value]
    return members


def _members(value: bytes) -> frozenset[bytes]:
    return frozenset(member.strip(b" \t").lower() for member in value.split(b","))


_OF_REQUESTS = Memo(_judge_request)
_OF_ANSWERS = Memo(_judge_answer)
_MEMBERS = Memo(_members)
