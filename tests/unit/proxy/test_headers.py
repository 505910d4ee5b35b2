"""Header rules both ways: what passes, what is dropped, what is added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.caching import private_cache_control
from bff.proxy.challenge import bearer_error
from bff.proxy.headers import Caller, Headers, OwnCookies, request_headers, response_headers

CALLER = Caller(b"api:9000", b"1.1 bff-1", b"192.0.2.1", b"https", b"app.example.com", b"id-1")
OWN = OwnCookies(["__Host-Http-bff", "__Host-Http-bff-login"])
ADDED = {
    b"host": b"api:9000",
    b"authorization": b"Bearer token",
    b"via": b"1.1 bff-1",
    b"x-forwarded-for": b"192.0.2.1",
    b"x-forwarded-proto": b"https",
    b"x-forwarded-host": b"app.example.com",
    b"x-request-id": b"id-1",
}

DROPPED = [
    "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "http2-settings", "content-length", "expect", "cookie", "authorization",
    "proxy-authorization", "proxy-connection", "proxy-authenticate", "dpop", "forwarded",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-uri",
    "x-forwarded-user", "x-forwarded-email", "x-forwarded-prefix", "x-forwarded", "x-real-ip",
    "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "x-original-url", "x-original-uri", "x-original-method",
    "x-original-forwarded-for", "x-rewrite-url", "x-http-method", "x-http-method-override",
    "x-method-override", "x-auth-user", "x-auth-request-user", "x-auth-request-email",
    "x-authenticated-user", "x-authenticated-userid", "x-remote-user", "x-remote-addr",
    "remote-user", "remote-addr", "remote-groups", "x-user", "x-user-id", "x-user-email",
    "x-username", "x-email", "x-email-verified", "x-groups", "x-roles", "x-access-token",
    "x-id-token", "client-cert", "client-cert-chain", "ssl-client-cert", "ssl-client-s-dn",
    "ssl-client-verify", "x-ssl-cert", "x-ssl-client-cn", "x-client-cert", "x-client-certificate",
    "x-amzn-oidc-data", "x-amzn-oidc-identity", "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email", "cf-access-jwt-assertion",
    "cf-access-authenticated-user-email", "x-ms-client-principal", "x-ms-client-principal-name",
    "x-ms-token-aad-access-token", "x-envoy-external-address", "x-envoy-peer-metadata",
    "x-bff-key", "x-bff-anything", "x-csrf", "x-webauth-user", "x_forwarded_user", "x-user_id",
    "x_real_ip", "authorization_", "accept_language",
]  # fmt: skip

PASSED = [
    "accept", "accept-language", "accept-encoding", "content-type", "content-encoding",
    "user-agent", "origin", "referer", "if-match", "if-none-match", "if-modified-since", "range",
    "prefer", "idempotency-key", "x-requested-with", "x-api-key", "x-custom", "traceparent",
    "tracestate", "baggage", "sec-fetch-site", "sec-fetch-mode", "sec-ch-ua", "cache-control",
    "pragma", "x-forward", "x-auth", "remotely", "proxyish", "last-event-id", "x-group", "x-role",
    "dnt", "priority", "sec-websocket-protocol", "sec-websocket-key", "x-client-version",
    "x-original",
]  # fmt: skip


def outgoing(incoming: Headers, *, keep_cookies: bool = False) -> Headers:
    return request_headers(
        incoming, CALLER, authorization=b"Bearer token", own_cookies=OWN, keep_cookies=keep_cookies
    )


@pytest.mark.parametrize("name", DROPPED)
def test_a_browser_cannot_say_who_it_is(name: str) -> None:
    """Nothing by which a backend might be told who is calling comes from the browser."""
    sent = outgoing([(name.encode(), b"evil"), (b"accept", b"a")])
    assert b"evil" not in [value for _, value in sent]
    assert dict(sent) == {**ADDED, b"accept": b"a"}


@pytest.mark.parametrize("name", PASSED)
def test_everything_else_passes(name: str) -> None:
    """What no backend takes for identity goes through as it is, repeated and in order."""
    field = name.encode()
    sent = outgoing([(field, b"1"), (b"x-other", b"2"), (field, b"\xe9")])
    assert [pair for pair in sent if pair[0] not in ADDED] == [
        (field, b"1"), (b"x-other", b"2"), (field, b"\xe9"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a\tb", b"a:b", b"a\0", b"caf\xc3\xa9", b"a/b", b"(a)"]
)
def test_a_name_that_is_no_token_is_dropped(name: bytes) -> None:
    """What one server reads as a name, another may read as two."""
    assert dict(outgoing([(name, b"evil")])) == ADDED


def test_connection_names_what_is_dropped_but_never_what_we_add() -> None:
    """`Connection: X-Forwarded-For` takes the browser's away, not ours (CVE-2025-48865)."""
    sent = outgoing(
        [
            (b"connection", b"close, X-Hop, authorization, X-Forwarded-For"),
            (b"connection", b"host , via,cookie"),
            (b"x-hop", b"1"),
            (b"accept", b"a"),
            (b"x-forwarded-for", b"6.6.6.6"),
            (b"via", b"1.0 evil"),
        ]
    )
    assert dict(sent) == {**ADDED, b"accept": b"a"}


def test_via_is_continued() -> None:
    """Who passed the request on before us is still told (RFC 9110 section 7.6.3)."""
    sent = outgoing([(b"via", b"2 cdn"), (b"via", b"1.1 lb")])
    assert dict(sent)[b"via"] == b"2 cdn, 1.1 lb, 1.1 bff-1"


@pytest.mark.parametrize(
    ("cookie", "kept"),
    [
        (b"a=1; __Host-Http-bff=secret; b=2", b"a=1; b=2"),
        (b"__Host-Http-bff=secret", None),
        (b"__host-http-BFF=secret;a=1", b"a=1"),
        (b"a=1;__Host-Http-bff-login=x", b"a=1"),
        (b"a=1;  __Host-Http-bff =x", b"a=1"),
        (b"__Host-Http-bffx=1", b"__Host-Http-bffx=1"),
        (b"a=__Host-Http-bff=1", b"a=__Host-Http-bff=1"),
        (b"a=1; __Host-Http-bff", b"a=1"),
    ],
)
def test_cookies_pass_only_where_wanted_and_never_ours(cookie: bytes, kept: bytes | None) -> None:
    """Our cookie opens the session, so it stays here."""
    assert dict(outgoing([(b"cookie", cookie)])) == ADDED
    sent = dict(outgoing([(b"cookie", cookie)], keep_cookies=True))
    assert sent.get(b"cookie") == kept
    assert b"secret" not in sent.get(b"cookie", b"")


def test_without_a_token_there_is_no_authorization() -> None:
    """On routes without sign-in the browser's own header is dropped all the same."""
    sent = request_headers(
        [(b"authorization", b"Basic x")], CALLER, authorization=None, own_cookies=OWN,
        keep_cookies=False,
    )  # fmt: skip
    assert b"authorization" not in dict(sent)


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=20)), max_size=20))
def test_what_we_say_is_always_said_exactly_once(incoming: Headers) -> None:
    """Whatever the browser sends, each of our fields is there once, with our value."""
    incoming = [(name.lower(), value) for name, value in incoming if name.lower() != b"via"]
    sent = outgoing(incoming, keep_cookies=True)
    for name, value in ADDED.items():
        assert [held for given, held in sent if given == name] == [value]


def answer(
    upstream: Headers, status: int = 200, *, with_session: bool = False, cookies: bool = False
) -> Headers:
    return response_headers(
        upstream, status, with_session=with_session, cookies=cookies, own_cookies=OWN
    )


OURS_TO_SAY = [
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "proxy-authenticate", "proxy-connection", "proxy-authentication-info",
    "access-control-allow-origin", "access-control-allow-credentials",
    "access-control-expose-headers", "strict-transport-security", "clear-site-data", "alt-svc",
    "dpop-nonce", "service-worker-allowed", "x-accel-redirect", "x-accel-buffering", "set-cookie",
    "set-cookie2",
]  # fmt: skip


@pytest.mark.parametrize("name", OURS_TO_SAY)
def test_an_upstream_does_not_speak_for_our_origin(name: str) -> None:
    """Policies of this origin, cookies, and what belongs to one connection are dropped."""
    assert answer([(name.encode(), b"x=1"), (b"etag", b'"1"')]) == [(b"etag", b'"1"')]


def test_everything_else_of_an_answer_passes() -> None:
    """In its order, repeated names too."""
    fields = [
        (b"content-type", b"text/html"), (b"content-length", b"5"), (b"location", b"/x"),
        (b"www-authenticate", b"Bearer"), (b"x_odd", b"\xff"), (b"link", b"a"), (b"link", b"b"),
        (b"cache-control", b"public, max-age=60"), (b"surrogate-control", b"max-age=60"),
    ]  # fmt: skip
    assert sorted(answer(fields)) == sorted(fields)


def test_fields_that_connection_names_do_not_pass() -> None:
    """Also when they are of those that are looked at."""
    fields = [(b"connection", b"X-Hop, Cache-Control, vary"), (b"x-hop", b"1"),
              (b"cache-control", b"max-age=60"), (b"vary", b"Cookie")]  # fmt: skip
    assert answer(fields, with_session=True) == [
        (b"cache-control", b"no-store"),
        (b"vary", b"Cookie"),
    ]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_has_no_length(status: int) -> None:
    """A length there tells of another answer's body."""
    assert answer([(b"content-length", b"5")], status) == []


@pytest.mark.parametrize(
    ("upstream", "sent"),
    [
        ([], b"no-store"),
        ([b""], b"no-store"),
        ([b"no-cache"], b"no-cache"),
        ([b"max-age=60"], b"max-age=60"),
        ([b"private, max-age=60"], b"private, max-age=60"),
        ([b"public, max-age=60"], b"private, max-age=60"),
        ([b"PUBLIC,Max-Age=60"], b"private, Max-Age=60"),
        ([b"public"], b"private"),
        ([b"s-maxage=9"], b"private"),
        ([b"max-age=60, s-maxage=9, immutable"], b"private, max-age=60, immutable"),
        ([b"private, public"], b"private"),
        ([b'private="x", public'], b"private"),
        (
            [b'no-cache="set-cookie, public", max-age=1'],
            b'no-cache="set-cookie, public", max-age=1',
        ),
        ([b"max-age=1", b"public"], b"private, max-age=1"),
        ([b'public="x"'], b"private"),
        ([b's-maxage="9"'], b"private"),
        ([b'x="a\\", public'], b"no-store"),
        ([b'x="'], b"no-store"),
    ],
)
def test_no_shared_cache_keeps_what_belongs_to_a_session(
    upstream: list[bytes], sent: bytes
) -> None:
    """Nothing is stored unless the upstream says so, and then for this browser only."""
    assert private_cache_control(upstream) == sent
    fields = [(b"cache-control", value) for value in upstream]
    fields += [(b"surrogate-control", b"x"), (b"cdn-cache-control", b"x"),
               (b"cloudflare-cdn-cache-control", b"x")]  # fmt: skip
    assert answer(fields, with_session=True) == [(b"cache-control", sent), (b"vary", b"Cookie")]


@pytest.mark.parametrize(
    ("vary", "added"),
    [([], True), ([b"Accept"], True), ([b"*"], False), ([b"accept, COOKIE"], False),
     ([b"accept", b"cookie"], False), ([b"x-cookie"], True)],
)  # fmt: skip
def test_answers_of_a_session_vary_by_cookie(vary: list[bytes], added: bool) -> None:
    """The upstream's own Vary stays."""
    fields = [(b"vary", value) for value in vary]
    sent = [value for name, value in answer(fields, with_session=True) if name == b"vary"]
    assert sent == vary + [b"Cookie"] * added


@pytest.mark.parametrize(
    ("cookie", "passes"),
    [
        (b"a=1; Path=/", True),
        (b"__Host-other=1; Secure; Path=/", True),
        (b"__Host-Http-bff=evil; Path=/; Secure", False),
        (b"__host-http-BFF=evil", False),
        (b" __Host-Http-bff =evil", False),
        (b"=__Host-Http-bff=evil", False),
        (b"= __Host-Http-bff=evil", False),
        (b"==__Host-Http-bff=evil", False),
        (b"__Host-Http-bff", False),
        (b"__Host-Http-bff; Path=/", False),
        (b"__Host-Http-bff-login=evil", False),
        (b"__Host-Http-bff2=fine", True),
        (b"a=__Host-Http-bff=x", True),
    ],
)
def test_an_upstream_sets_no_cookie_of_ours(cookie: bytes, passes: bool) -> None:
    """Where cookies pass, none can be taken for the session's, however it is spelled."""
    field = (b"set-cookie", cookie)
    assert answer([field]) == []
    assert answer([field], cookies=True) == [field] * passes


@pytest.mark.parametrize(
    ("challenges", "error"),
    [
        ([], None),
        ([b"Bearer"], None),
        ([b'Bearer error="invalid_token"'], "invalid_token"),
        ([b'bEARER realm="a", error="invalid_token", error_description="x"'], "invalid_token"),
        ([b"Bearer realm=a,error=invalid_token"], "invalid_token"),
        ([b'Bearer realm="a, error=\\"invalid_token\\""'], None),
        ([b'Basic realm="a", error="invalid_token"'], None),
        ([b'Basic realm="a", Bearer error="invalid_token"'], "invalid_token"),
        ([b'Basic realm="a"', b'DPoP error="invalid_token"'], "invalid_token"),
        ([b'Bearer error="insufficient_scope"'], "insufficient_scope"),
        ([b'Negotiate abc==, Bearer error="invalid_token"'], "invalid_token"),
        ([b'Bearer error_description="invalid_token"'], None),
        ([b",,=,"], None),
    ],
)
def test_why_an_upstream_refused_the_token(challenges: list[bytes], error: str | None) -> None:
    """The error is read by the grammar of challenges, not by looking for words."""
    assert bearer_error([(b"www-authenticate", value) for value in challenges]) == error
