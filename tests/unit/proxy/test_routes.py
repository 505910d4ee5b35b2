"""Paths and routes: what is refused, what passes unchanged, whose policy rules, who may pass."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.routes import (
    BadPath,
    Route,
    RouteFaults,
    RouteTable,
    Verdict,
    judge_path,
    parse_routes,
    permits,
    target,
)
from bff.proxy.wire import Address

API = Address("http", "api", 80)

HARMLESS = [
    b"/", b"/api", b"/api/", b"/api/a%20b", b"/api/%C3%A9", b"/api/%c3%a9", b"/api/a+b", b"/~me",
    b"/a:b", b"/a@b", b"/a%2Bb", b"/it's", b"/a%27b", b"/a;v=1/b", b"/a%3Bb", b"/.well-known/x",
    b"/a.b", b"/a..b", b"/...", b"/..a", b"/a%25b", b"/%252e%252e/", b"/a%3Fb", b"/a%23b", b"/a,b",
    b"/a|b", b"/[a]", b'/a"b', b"/%E9", b"/%7Euser", b"/a=b&c", b"/a!$*()", b"/%E2%82%AC",
]  # fmt: skip

DANGEROUS = [
    b"", b"api", b"*", b"http://evil/", b"//", b"//evil", b"/a//b", b"/a/b//", b"/.", b"/..",
    b"/a/./b", b"/a/../b", b"/a/..", b"/a/.", b"/%2e", b"/%2e%2E/a", b"/.%2e/a", b"/a/%2e./b",
    b"/..;/a", b"/..;x=1/a", b"/.;/a", b"/..%3b/a", b"/%2e%2e;x/a", b"/a/..%3Bx", b"/;/a",
    b"/a/;x/b",
    b"/a%2fb", b"/a%2Fb", b"/a\\b", b"/a%5cb", b"/a%5Cb", b"/..\\a", b"/a%00", b"/a\0", b"/a\x01",
    b"/a%0d%0aX", b"/a\r\n", b"/a\tb", b"/a b", b"/a\x7f", b"/a%7F", b"/a%1f", b"/a%", b"/a%4",
    b"/a%zz", b"/a%2", b"/a%%41", b"/a%u0041", b"/\xc3\xa9", b"/a?b", b"/a#b", b"/%c0%ae%c0%ae/a",
    b"/a%c0%afb", b"/%e0%80%ae/a", b"/%f0%80%80%ae/a",
]  # fmt: skip


@pytest.mark.parametrize("path", HARMLESS)
def test_a_harmless_path_goes_out_as_it_came(path: bytes) -> None:
    """No byte changes, with a query or without."""
    route = Route(b"", API)
    judge_path(path)
    assert target(route, path, b"") == path
    assert target(route, path, b"a=%20&a=1&b") == path + b"?a=%20&a=1&b"


@pytest.mark.parametrize("path", DANGEROUS)
def test_a_dangerous_path_is_refused(path: bytes) -> None:
    """Whatever two readers could take for two paths is no path."""
    with pytest.raises(BadPath):
        judge_path(path)


@pytest.mark.parametrize(
    ("path", "judged"),
    [
        (b"/%61pi", b"/api"),
        (b"/%41%2d%2E%5f%7E%30", b"/A-._~0"),
        (b"/a%2bb", b"/a%2Bb"),
        (b"/%c3%a9", b"/%C3%A9"),
        (b"/%2561", b"/%2561"),
    ],
)
def test_the_form_for_matching(path: bytes, judged: bytes) -> None:
    """Unreserved characters are decoded, once; other encodings get capitals (RFC 3986 6.2.2)."""
    assert judge_path(path) == judged


def table(*prefixes: str) -> RouteTable:
    return RouteTable(parse_routes(dict.fromkeys(prefixes, "http://api")))


def name(found: Route | None) -> str | None:
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/api", "/api"),
        (b"/api/", "/api"),
        (b"/api/x/y", "/api"),
        (b"/apix", "/"),
        (b"/api%20", "/"),
        (b"/%61pi/x", "/api"),
        (b"/api/admin", "/api/admin"),
        (b"/api/%61dmin/x", "/api/admin"),
        (b"/api/administrator", "/api"),
        (b"/API", "/"),
        (b"/", "/"),
        (b"/bff", None),
        (b"/bff/login", None),
        (b"/%62ff/login", None),
        (b"/bffx", "/"),
        (b"/a@b/c", "/a@b"),
    ],
)
def test_the_longest_prefix_wins_on_whole_segments(path: bytes, found: str | None) -> None:
    """A route is found by segments, not by characters; nothing under /bff is a route."""
    routes = table("/", "/api", "/api/admin", "/a@b")
    assert name(routes.match(judge_path(path))) == found


@pytest.mark.parametrize(
    "path",
    [b"/api/admin;x=1", b"/api;x/admin", b"/api/admin%3bx/y", b"/api/%40me", b"/bff;x/login"],
)
def test_a_path_that_another_reader_puts_under_another_route_is_refused(path: bytes) -> None:
    """Servers that drop `;` parameters, or decode `%40`, would see the path of another policy."""
    with pytest.raises(BadPath):
        table("/", "/api", "/api/admin", "/api/@me").match(judge_path(path))


def test_parameters_that_change_no_route_pass() -> None:
    """A `;` is a character like others where it does not matter."""
    assert name(table("/api", "/api/admin").match(judge_path(b"/api/a;v=1/b"))) == "/api"


def test_without_a_root_route_there_may_be_none() -> None:
    """What is not listed is not proxied."""
    routes = table("/api")
    assert routes.match(b"/") is None
    assert routes.match(b"/other/" + b"a/" * 5000) is None
    assert name(routes.match(b"/api/" + b"a/" * 5000)) == "/api"


@pytest.mark.parametrize(
    ("prefix", "strip", "upstream", "path", "query", "expected"),
    [
        ("/api", False, "http://u", b"/api/a", b"", b"/api/a"),
        ("/api", False, "http://u/", b"/api", b"", b"/api"),
        ("/api", False, "http://u/v1", b"/api/a", b"x", b"/v1/api/a?x"),
        ("/api", False, "http://u/v1/", b"/api/a", b"x", b"/v1/api/a?x"),
        ("/api", True, "http://u", b"/api/a", b"x=1", b"/a?x=1"),
        ("/api", True, "http://u", b"/api", b"", b"/"),
        ("/api", True, "http://u", b"/api/", b"", b"/"),
        ("/api", True, "http://u/v1", b"/api", b"", b"/v1"),
        ("/api", True, "http://u/v1", b"/api/", b"", b"/v1/"),
        ("/api", True, "http://u/v1", b"/%61p%69/%61", b"", b"/v1/%61"),
        ("/a/b", True, "http://u", b"/%61/b/c/", b"", b"/c/"),
        ("/", True, "http://u/v1", b"/a", b"", b"/v1/a"),
        ("/", False, "http://u", b"/", b"", b"/"),
        ("/caf\u00e9", True, "http://u", b"/caf%c3%a9/x", b"", b"/x"),
        ("/api", False, "http://u", b"/api", b"a=\xc3\xa9#b c", b"/api?a=%C3%A9%23b%20c"),
    ],
)
def test_the_target_is_made_of_the_bytes_that_came(
    prefix: str, strip: bool, upstream: str, path: bytes, query: bytes, expected: bytes
) -> None:
    """Base path in front, prefix off where asked, however it was spelled; the rest untouched."""
    [route] = parse_routes({prefix: {"upstream": upstream, "strip_prefix": strip}})
    assert RouteTable([route]).match(judge_path(path)) is route
    assert target(route, path, query) == expected


def test_a_plain_url_is_a_route_for_signed_in_users() -> None:
    """The defaults are those of the contract."""
    [route] = parse_routes('{"/api/": "https://api.example.com/v1"}')
    assert route == Route(b"/api", Address("https", "api.example.com", 443), b"/v1")
    assert (route.auth, route.timeout, route.strip_prefix, route.cookies) == (
        "user",
        60,
        False,
        False,
    )


def test_every_member_is_read() -> None:
    """A route object says all there is to say."""
    value = {
        "upstream": "http://[::1]:9000", "strip_prefix": True, "auth": "optional",
        "scopes": ["a", "b:c"], "claims": {"role": ["admin", "owner"], "level": 3, "vip": True},
        "acr": "urn:mfa", "cookies": True, "timeout": 1.5,
    }  # fmt: skip
    [route] = parse_routes(json.dumps({"/x": value}))
    assert route == Route(
        b"/x", Address("http", "::1", 9000), b"", True, "optional", frozenset({"a", "b:c"}),
        (("role", ("admin", "owner")), ("level", (3,)), ("vip", (True,))), "urn:mfa", True, 1.5,
    )  # fmt: skip
    assert route.restricted


@pytest.mark.parametrize("several", [True, False])
def test_a_route_may_have_several_addresses(several: bool) -> None:
    """Under one base path, each with its own scheme, host and port."""
    urls = ["http://a:9000/v1", "https://b/v1/", "http://[::1]/v1"]
    value = {"upstream": urls} if several else urls
    [route] = parse_routes({"/x": value})
    assert route.addresses == (
        Address("http", "a", 9000), Address("https", "b", 443), Address("http", "::1", 80),
    )  # fmt: skip
    assert (route.base_path, route.circuit) == (b"/v1", None)


def test_headers_to_pass_and_a_circuit_are_read() -> None:
    """Names are compared in lower case."""
    value = {
        "upstream": "http://u", "circuit": 5, "pass_request_headers": ["X-User-Locale"],
        "pass_response_headers": ["Clear-Site-Data", "service-worker-allowed"],
    }  # fmt: skip
    [route] = parse_routes({"/x": value})
    assert route.circuit == 5
    assert route.pass_request_headers == {b"x-user-locale"}
    assert route.pass_response_headers == {b"clear-site-data", b"service-worker-allowed"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", ["JSON"]),
        ("[]", ["object"]),
        ('{"/a": "http://u", "/a": "http://v"}', ["/a", "twice"]),
        ({"/a": "http://u", "/%61/": "http://v"}, ["/%61/", "twice"]),
        ({"api": "http://u"}, ["api", "slash"]),
        ({"/bff": "http://u"}, ["/bff"]),
        ({"/%62ff/x": "http://u"}, ["/bff"]),
        ({"/a/../b": "http://u"}, ["dot_segment"]),
        ({"/a//b": "http://u"}, ["empty_segment"]),
        ({"/a;b": "http://u"}, ["parameters"]),
        ({"/a": {}}, ["/a", "upstream is required"]),
        ({"/a": 5}, ["/a", "upstream", "URL"]),
        ({"/a": None}, ["/a", "upstream", "URL"]),
        ({"/a": ""}, ["URL"]),
        ({"/a": "api:9000"}, ["http or https"]),
        ({"/a": "ftp://u"}, ["http or https"]),
        ({"/a": "http://"}, ["host"]),
        ({"/a": "http://me:secret@u"}, ["user or password"]),
        ({"/a": "http://u?x=1"}, ["query"]),
        ({"/a": "http://u?"}, ["query"]),
        ({"/a": "http://u#x"}, ["fragment"]),
        ({"/a": "http://u:0"}, ["port"]),
        ({"/a": "http://u:99999"}, ["not a URL"]),
        ({"/a": "http://u:"}, ["port"]),
        ({"/a": "http://u/a/../b"}, ["base path", "dot_segment"]),
        ({"/a": "http://u/%2f"}, ["base path"]),
        ({"/a": "http://u v"}, ["character"]),
        ({"/a": "http://\u00fc.example"}, ["character"]),
        ({"/a": "http://u*v"}, ["host"]),
        ({"/a": "http://[::1"}, ["not a URL"]),
        ({"/a": {"upstream": "http://u", "autth": "user"}}, ["autth", "auth"]),
        ({"/a": {"upstream": "http://u", "auth": "admin"}}, ["auth", "optional"]),
        ({"/a": {"upstream": "http://u", "auth": []}}, ["auth"]),
        (
            {"/a": {"upstream": "http://u", "strip_prefix": "yes"}},
            ["strip_prefix", "true or false"],
        ),
        ({"/a": {"upstream": "http://u", "cookies": 1}}, ["cookies", "true or false"]),
        ({"/a": {"upstream": "http://u", "scopes": "a b"}}, ["scopes", "list"]),
        ({"/a": {"upstream": "http://u", "scopes": ["a b"]}}, ["scopes"]),
        ({"/a": {"upstream": "http://u", "claims": ["a"]}}, ["claims", "object"]),
        ({"/a": {"upstream": "http://u", "claims": {"a": []}}}, ["claims", "a"]),
        ({"/a": {"upstream": "http://u", "claims": {"a": None}}}, ["claims", "a"]),
        ({"/a": {"upstream": "http://u", "acr": ""}}, ["acr"]),
        ({"/a": {"upstream": "http://u", "acr": ["x"]}}, ["acr"]),
        ({"/a": {"upstream": "http://u", "timeout": 0}}, ["timeout"]),
        ({"/a": {"upstream": "http://u", "timeout": "60"}}, ["timeout"]),
        ({"/a": {"upstream": "http://u", "timeout": True}}, ["timeout"]),
        ('{"/a": {"upstream": "http://u", "timeout": NaN}}', ["timeout"]),
        ('{"/a": {"upstream": "http://u", "timeout": Infinity}}', ["timeout"]),
        ({"/a": {"upstream": "http://u", "circuit": 0}}, ["circuit", "1 to"]),
        ({"/a": {"upstream": "http://u", "circuit": True}}, ["circuit", "failures"]),
        ({"/a": {"upstream": "http://u", "circuit": 2.5}}, ["circuit", "failures"]),
        ({"/a": []}, ["upstream", "1 to"]),
        ({"/a": ["http://u", 5]}, ["upstream", "URL"]),
        ({"/a": ["http://u", "http://u:80"]}, ["upstream", "twice"]),
        ({"/a": ["http://u/x", "http://v/y"]}, ["upstream", "same base path"]),
        ({"/a": ["http://u/x", "http://v"]}, ["upstream", "same base path"]),
        ({"/a": {"upstream": ["http://u", "http://me@v"]}}, ["user or password"]),
        ({"/a": [f"http://u{n}" for n in range(65)]}, ["upstream", "64"]),
        (
            {"/a": {"upstream": "http://u", "pass_request_headers": "X-User-Locale"}},
            ["pass_request_headers", "list", "X-User-Locale"],
        ),
        (
            {"/a": {"upstream": "http://u", "pass_request_headers": ["X-User-Locale", "Cookie"]}},
            ["pass_request_headers", "'Cookie'", "never"],
        ),
        (
            {"/a": {"upstream": "http://u", "pass_request_headers": ["X-Trace"]}},
            ["'X-Trace'", "passes anyway"],
        ),
        (
            {"/a": {"upstream": "http://u", "pass_request_headers": ["X-User-\u0130"]}},
            ["pass_request_headers", "never"],
        ),
        (
            {"/a": {"upstream": "http://u", "pass_response_headers": ["Alt-Svc"]}},
            ["pass_response_headers", "'Alt-Svc'", "Clear-Site-Data"],
        ),
        ({"/a": {"upstream": "http://u", "auth": "none", "scopes": ["a"]}}, ["scopes", "user"]),
        ({"/a": {"upstream": "http://u", "auth": "client", "acr": "x"}}, ["acr", "user"]),
    ],
)
def test_a_fault_says_where_it_is_and_what_would_do(value: object, words: list[str]) -> None:
    """The operator reads the prefix, what is wrong, and an example."""
    with pytest.raises(RouteFaults) as caught:
        parse_routes(value)
    [fault] = caught.value.faults
    assert all(word in fault for word in words), fault


def test_every_fault_is_reported_at_once() -> None:
    """One start shows them all."""
    value = {"a": {"upstream": "x", "timeout": -1}, "/b": {"auth": "no"}, "/c": "http://u"}
    with pytest.raises(RouteFaults) as caught:
        parse_routes(value)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["a", "a", "a", "/b", "/b"]
    assert all("for example" in fault for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("policy", "granted", "claims", "acr", "verdict"),
    [
        ({}, "", {}, None, Verdict.OK),
        ({"scopes": ["a"]}, "a b", {}, None, Verdict.OK),
        ({"scopes": ["a", "b"]}, "a", {}, None, Verdict.FORBIDDEN),
        ({"scopes": ["a"]}, "A aa", {}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": "x"}}, "", {"r": "x"}, None, Verdict.OK),
        ({"claims": {"r": "x"}}, "", {"r": "y"}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": "x"}}, "", {}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": ["x", "y"]}}, "", {"r": "y"}, None, Verdict.OK),
        ({"claims": {"r": "x"}}, "", {"r": ["a", "x"]}, None, Verdict.OK),
        ({"claims": {"r": "x"}}, "", {"r": []}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": "x"}}, "", {"r": "xx"}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": "x"}}, "", {"r": {"x": 1}}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": True}}, "", {"r": True}, None, Verdict.OK),
        ({"claims": {"r": True}}, "", {"r": 1}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": 1}}, "", {"r": True}, None, Verdict.FORBIDDEN),
        ({"claims": {"r": 1}}, "", {"r": 1.0}, None, Verdict.OK),
        ({"claims": {"r": "x", "s": "y"}}, "", {"r": "x"}, None, Verdict.FORBIDDEN),
        ({"acr": "mfa"}, "", {}, "mfa", Verdict.OK),
        ({"acr": "mfa"}, "", {}, "pwd", Verdict.STEP_UP),
        ({"acr": "mfa"}, "", {}, None, Verdict.STEP_UP),
        ({"acr": "mfa", "scopes": ["a"]}, "", {}, None, Verdict.FORBIDDEN),
    ],
)
def test_what_a_route_lets_pass(
    policy: dict[str, object], granted: str, claims: dict[str, object], acr: str | None,
    verdict: Verdict,
) -> None:  # fmt: skip
    """Scopes: all; claims: each; a step-up only where a new sign-in would help."""
    [route] = parse_routes({"/a": {"upstream": "http://u", **policy}})
    assert permits(route, frozenset(granted.split()), claims, acr) is verdict


segments = st.lists(
    st.sampled_from(
        ["/", "/api", "/api/admin", "/%61pi", "/admin", "/x", "/a@b", "/a%40b", "%2F", "%2e", ".",
         ";", "%3b", "\\", "%5c", "%", "%00", "#", "?", "%41", "%C3%A9", "\u00e9", "api", "~",
         "%20", "%25"]
    ),
    max_size=8,
).map(lambda parts: "".join(parts).encode())  # fmt: skip
ROUTES = table("/", "/api", "/api/admin", "/a@b", "/x/%41 b")


@given(segments | st.binary(max_size=30).map(lambda tail: b"/" + tail))
def test_the_policy_is_that_of_the_path_as_the_upstream_sees_it(path: bytes) -> None:
    """For every path: refused, or one route for the raw, the decoded and the parameterless path."""
    try:
        route = ROUTES.match(judge_path(path))
    except BadPath:
        return
    if route is None:
        assert unquote_to_bytes(path).split(b"/")[1].split(b";")[0] == b"bff"
        return
    sent = target(route, path, b"")
    assert sent == path
    seen = unquote_to_bytes(sent)
    for view in (seen, b"/".join(part.split(b";")[0] for part in seen.split(b"/"))):
        best = max(
            (
                prefix
                for prefix in (b"", b"/api", b"/api/admin", b"/a@b", b"/x/A b", b"/bff")
                if view == prefix or view.startswith(prefix + b"/")
            ),
            key=len,
        )
        assert unquote_to_bytes(route.prefix) == best
        assert not {b".", b"..", b""} & set(view.split(b"/")[1:-1])
        assert view.rsplit(b"/", 1)[1] not in {b".", b".."}
        assert b"\\" not in view
        assert min(view) >= 0x20


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_target_never_holds_what_would_end_it(path: bytes, query: bytes) -> None:
    """No space, control, fragment or byte beyond ASCII goes out, whatever comes in."""
    try:
        judge_path(b"/" + path)
    except BadPath:
        return
    sent = target(Route(b"", API), b"/" + path, query)
    assert all(0x21 <= byte <= 0x7E for byte in sent)
    assert b"#" not in sent
    assert sent.partition(b"?")[0] == b"/" + path
