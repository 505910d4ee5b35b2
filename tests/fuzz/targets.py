"""Every parser that takes foreign bytes, as a function of bytes: valid or a typed error, soon.

A target returns for what is valid and for the errors that its documentation names; anything else
that escapes is a finding. `seeds` are examples of valid input, for fuzzers to change.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from bff.errors import Problem, ProviderUnavailableError
from bff.oidc.authorization import (
    BadOptionError,
    BadResponseError,
    Options,
    check_issuer,
    granted_code,
    single_parameters,
)
from bff.oidc.client_keys import BadClientKeyError, DecryptionKey, parse_keys
from bff.oidc.decryption import decrypt
from bff.oidc.grants import RefusedError, judge_answer
from bff.oidc.jarm import judge_response
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import BadTokenError, Verified, claimed_issuer, import_keys, verify
from bff.oidc.metadata import BadMetadataError, judge_metadata
from bff.oidc.tokens import Policy, check_id_token, check_logout_token, check_refreshed_id_token
from bff.proxy.caching import private_cache_control
from bff.proxy.challenge import bearer_challenge, step_up
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.frames import FrameFollower
from bff.proxy.paths import BadPath, judge_path
from bff.return_to import safe_return_to
from bff.sessions.cookies import session_cookie
from bff.spa.codings import choose_coding
from bff.web.asked import asked_of_proxy
from tests.support import jose

POLICY = Policy(jose.ISSUER, jose.CLIENT_ID, "RS256", 30.0)
COOKIE = session_cookie(
    ["a secret for the cookies of these tests"], loopback_http=True, same_site="strict"
)
TYPED = (
    BadTokenError, BadJsonError, BadMetadataError, BadResponseError, BadOptionError, RefusedError,
    ProviderUnavailableError, BadClientKeyError, BadPath, Problem,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A parser under test: its name, what runs it, and valid examples."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]

    def __call__(self, data: bytes) -> None:
        """Feed it; only the errors that it names may come out."""
        with contextlib.suppress(*TYPED):
            self.run(data)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _claims(data: bytes) -> dict[str, Any]:
    return parse_object(data)


def _keys() -> list[Any]:
    members = [jose.jwk(jose.rsa(), kid="one"), jose.jwk(jose.ec(), kid="two")]
    return import_keys({"keys": members})[0]


KEYS = _keys()
ID_CLAIMS = jose.id_claims()
LOGOUT_CLAIMS = {
    "iss": jose.ISSUER, "aud": jose.CLIENT_ID, "iat": jose.NOW, "exp": jose.NOW + 60, "jti": "j",
    "sub": "alice", "sid": "s", "events": {jose.LOGOUT_EVENT: {}},
}  # fmt: skip
METADATA = {
    "issuer": jose.ISSUER, "authorization_endpoint": "https://login.example.com/authorize",
    "token_endpoint": "https://login.example.com/token", "jwks_uri": "https://login.example.com/jwks",
    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example.com/token"},
}  # fmt: skip


def discovery(data: bytes) -> object:
    """A discovery document."""
    return judge_metadata(_claims(data), jose.ISSUER, mtls=True)


def id_token(data: bytes) -> object:
    """Claims of an ID token whose signature holds."""
    token = Verified({"alg": "RS256"}, _claims(data), "a.b.c")
    with contextlib.suppress(BadTokenError):
        check_refreshed_id_token(token, POLICY, jose.NOW, sub="alice", login_claims=ID_CLAIMS)
    return check_id_token(
        token, POLICY, jose.NOW, nonce="n", access_token="t", max_age=60, acr_values="a b",
        essential=("email",), sub="alice",
    )  # fmt: skip


def header_of_token(data: bytes) -> object:
    """A token with any header, signed by nobody."""
    return verify(
        f"{jose.b64(data)}.{jose.b64(_json(ID_CLAIMS))}.{jose.b64(b'x' * 256)}", "RS256", KEYS
    )


def any_token(data: bytes) -> object:
    """Text in the place of a token: signed, encrypted, or to find its issuer."""
    text = _text(data)
    with contextlib.suppress(BadTokenError):
        verify(text, "RS256", KEYS)
    with contextlib.suppress(BadTokenError):
        decrypt(text, [DecryptionKey(jose.rsa(), frozenset({"RSA-OAEP"}))])
    return claimed_issuer(text)


def options(data: bytes) -> object:
    """The query of `/bff/login`."""
    return Options.parse(dict(parse_qsl(_text(data), keep_blank_values=True)))


def callback(data: bytes) -> object:
    """The query of `/bff/callback`."""
    answer = single_parameters(parse_qsl(_text(data), keep_blank_values=True))
    check_issuer(answer, issuer=jose.ISSUER, promises_iss=False)
    return granted_code(answer)


def challenge(data: bytes) -> object:
    """`WWW-Authenticate` of an upstream."""
    return step_up(bearer_challenge([(b"www-authenticate", data)]))


def frames(data: bytes) -> object:
    """A WebSocket's bytes, at once and in two pieces."""
    for cut in (len(data), len(data) // 2):
        follower = FrameFollower(masked=True, max_message=4096, deflate=False)
        follower.feed(data[:cut])
        follower.feed(data[cut:])
    return None


def own_keys(data: bytes) -> object:
    """BFF_CLIENT_KEY_FILE."""
    return parse_keys(data)


def asked(data: bytes) -> object:
    """What a reverse proxy says that the browser asked for."""
    return asked_of_proxy(
        [(b"x-original-uri", data)], "GET", b"/bff/auth", b"", origin="https://app.example.com"
    )


TARGETS = (
    Target("json", parse_object, (_json({"a": [1, {"b": None}]}), b'{"a": 1e5}')),
    Target("discovery", discovery, (_json(METADATA),)),
    Target("jwks", lambda data: import_keys(_claims(data)), (
        _json({"keys": [jose.jwk(jose.rsa(), kid="one"), jose.jwk(jose.ec(), use="sig")]}),
    )),
    Target("id_token_claims", id_token, (_json({**ID_CLAIMS, "nonce": "n"}),)),
    Target("logout_token_claims", lambda data: check_logout_token(
        Verified({"alg": "RS256", "typ": "logout+jwt"}, _claims(data), "a.b.c"), POLICY, jose.NOW
    ), (_json(LOGOUT_CLAIMS),)),
    Target("authorization_response", lambda data: judge_response(
        Verified({"alg": "RS256"}, _claims(data), "a.b.c"), POLICY, jose.NOW
    ), (_json({"iss": jose.ISSUER, "aud": jose.CLIENT_ID, "exp": jose.NOW + 60, "code": "c"}),)),
    Target("token_header", header_of_token, (_json({"alg": "RS256", "kid": "one"}),)),
    Target("token", any_token, (jose.sign(ID_CLAIMS, kid="one").encode(), b"a.b.c.d.e")),
    Target("token_answer", lambda data: judge_answer(200, data), (
        _json({"access_token": "a", "token_type": "Bearer", "expires_in": 300, "scope": "a b"}),
        _json({"error": "invalid_grant"}),
    )),
    Target("login_query", options, (b"prompt=login&max_age=0&acr_values=a",)),
    Target("callback_query", callback, (b"code=c&state=s&iss=https%3A%2F%2Flogin.example.com%2F",)),
    Target("challenge", challenge, (
        b'Bearer error="insufficient_user_authentication", acr_values="a b", max_age=5',
    )),
    Target("cookie", lambda data: COOKIE.read([(b"cookie", data)]), (
        COOKIE.renew("A" * 43).partition(";")[0].encode(), b"a=b; bff=c; bff=d",
    )),
    Target("path", judge_path, (b"/api/%C3%A9/a;b/", b"/a/%2e%2e/b")),
    Target("return_to", lambda data: safe_return_to(_text(data)), (b"/orders?a=b#c", b"//evil")),
    Target("forwarded_for", lambda data: TrustedProxies([]).client("127.0.0.1", [data]), (
        b"192.0.2.1, [2001:db8::1]:80", b"unknown",
    )),
    Target("cache_control", lambda data: private_cache_control([data]), (
        b'public, max-age=5, no-cache="a, b"',
    )),
    Target("accept_encoding", lambda data: choose_coding(data.decode("latin-1"), ["br", "gzip"]), (
        b"br;q=0.5, gzip, *;q=0",
    )),
    Target("frames", frames, (b"\x81\x85abcd12345", b"\x88\x82abcd\x62\x8a")),
    Target("client_keys", own_keys, (
        _json(jose.rsa().as_dict(private=True)), jose.rsa().as_pem(private=True),
    )),
    Target("asked_of_proxy", asked, (b"/orders?a=b", b"https://app.example.com/x")),
)  # fmt: skip
BY_NAME = {target.name: target for target in TARGETS}
