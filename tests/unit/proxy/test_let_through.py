"""Which headers a route may let through, and that nothing else comes with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy import headers as rules
from bff.proxy.headers import Caller, OwnCookies, request_headers, response_headers
from bff.proxy.let_through import (
    ANSWER_NAMES,
    REQUEST_FAMILIES,
    WHO_IS_CALLING,
    answer_may_pass,
    request_may_pass,
)

CALLER = Caller(b"api", b"1.1 bff-x", b"192.0.2.1", b"https", b"app.example", b"an-id")
OWN = OwnCookies(["bff"])

HARMLESS = [
    "x-user-locale", "x-user-agent", "x-user-timezone", "x-user-preferences", "x-email-format",
    "x-user-time-zone", "x-user-theme", "x-email-template",
]  # fmt: skip
NEVER = [
    # framing and what belongs to one connection
    "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade",
    "http2-settings", "expect", "proxy-authorization", "proxy-connection",
    # credentials
    "authorization", "cookie", "dpop", "x-access-token", "x-id-token", "x-auth-token",
    "x-csrf", "x-bff-key", "x-bff-anything", "client-cert", "client-cert-chain",
    "x-client-cert", "ssl-client-verify", "x-ssl-client-dn", "x-auth-key", "x-auth-secret",
    # who is calling
    "x-user", "x-users", "x-userid", "x-username", "x-user-id", "x-user-name", "x-user-email",
    "x-user-roles", "x-user-groups", "x-user-sub", "x-user-tenant", "x-user-permissions",
    "x-email", "x-email-address", "x-email-verified", "x-groups", "x-roles", "x-auth-user",
    "x-auth-email", "x-auth-request-user", "x-auth-request-email", "x-auth-username",
    "x-authenticated-user", "x-webauth-user", "x-remote-user", "x-remote-groups", "remote-user",
    "remote-groups", "x-amzn-oidc-data", "x-goog-iap-jwt-assertion", "cf-access-jwt-assertion",
    "x-goog-authenticated-user-email", "x-ms-client-principal", "x-ms-token-aad-id-token",
    "x-appengine-user-email", "x-user-locale-id", "x-user-full-name", "x-user-is-admin",
    "x-auth-flow", "x-auth-status", "x-auth-verify", "x-remote-debug", "x-user-verified",
    # from where, through whom
    "host", "via", "forwarded", "x-forwarded", "x-forwarded-for", "x-forwarded-host",
    "x-forwarded-proto", "x-forwarded-user", "x-real-ip", "x-client-ip", "true-client-ip",
    "cf-connecting-ip", "x-remote-addr", "x-remote-ip", "x-envoy-external-address",
    "x-request-id",
    # another path or method than the one that was judged
    "x-original-url", "x-original-uri", "x-rewrite-url", "x-http-method-override",
    "x-method-override", "x-original-method",
    # no names at all, or names that another reader takes for another
    "x-user_locale", "x-user-", "x-user--locale", "x-user-locale:", "x-user-l\u00e9", "x-user-a b",
    "x-user-1d", "", "x-user-i",
]  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_member_of_a_refused_family_may_pass(name: str) -> None:
    """It is refused without the option, and goes through with it, by name."""
    field = (name.encode(), b"value")
    plain = request_headers(
        [field], CALLER, authorization=None, own_cookies=OWN, keep_cookies=False
    )
    assert field not in plain
    assert request_may_pass(field[0])
    let = request_headers(
        [field, (b"x-user-id", b"evil"), (b"x-user-localex", b"evil")], CALLER,
        authorization=None, own_cookies=OWN, keep_cookies=False, let=frozenset({field[0]}),
    )  # fmt: skip
    assert let == [plain[0], field, *plain[1:]]


@pytest.mark.parametrize("name", NEVER)
def test_what_tells_of_caller_credentials_or_framing_never_may(name: str) -> None:
    """Whoever asks for it."""
    assert not request_may_pass(name.encode())


@given(
    st.sampled_from(
        [*REQUEST_FAMILIES, *rules.REQUEST_FAMILIES, *sorted(rules.REQUEST_NAMES), b""]
    ),
    st.lists(st.sampled_from([*sorted(WHO_IS_CALLING), b"locale", b"theme", b"x"]), max_size=3),
)
def test_whatever_may_pass_is_of_a_refused_family_and_says_nothing_of_the_caller(
    start: bytes, words: list[bytes]
) -> None:
    """An option that does nothing would be a lie; one that does too much a hole."""
    name = start + b"-".join(words)
    if request_may_pass(name):
        assert name.startswith(REQUEST_FAMILIES)
        assert name.startswith(rules.REQUEST_FAMILIES)
        assert name not in rules.REQUEST_NAMES
        assert not set(words) & WHO_IS_CALLING


def test_a_field_that_is_let_through_can_still_be_named_by_connection() -> None:
    """It stays between the browser and us then (RFC 9110 section 7.6.1)."""
    fields = [(b"x-user-locale", b"de"), (b"connection", b"X-User-Locale")]
    passed = request_headers(
        fields, CALLER, authorization=None, own_cookies=OWN, keep_cookies=False,
        let=frozenset({b"x-user-locale"}),
    )  # fmt: skip
    assert b"x-user-locale" not in dict(passed)


@pytest.mark.parametrize("name", sorted(ANSWER_NAMES))
def test_what_an_answer_may_be_let_say_is_dropped_elsewhere(name: bytes) -> None:
    """By name, and only that name."""
    fields = [(name, b"1"), (b"strict-transport-security", b"max-age=0")]
    for let in (frozenset[bytes](), frozenset({name})):
        passed = response_headers(
            fields, 200, with_session=False, cookies=False, own_cookies=OWN, let=let
        )
        assert passed == [field for field in fields if field[0] in let]
    assert answer_may_pass(name)


@pytest.mark.parametrize(
    "name",
    [
        b"set-cookie", b"set-cookie2", b"connection", b"transfer-encoding", b"content-length",
        b"strict-transport-security", b"alt-svc", b"access-control-allow-origin",
        b"access-control-allow-credentials", b"x-accel-redirect", b"x-accel-expires",
        b"proxy-authenticate", b"dpop-nonce", b"date", b"upgrade", b"x-other", b"",
    ],
)  # fmt: skip
def test_what_is_this_origins_own_to_say_never_may(name: bytes) -> None:
    """CORS, transport, cookies and the files of a proxy in front are not an upstream's to open."""
    assert not answer_may_pass(name)
