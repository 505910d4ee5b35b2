"""What a reverse proxy says that the browser asked for."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import Code, Problem
from bff.return_to import safe_return_to
from bff.web.asked import Asked, asked_of_proxy

OWN = "https://app.example.com"
Fields = list[tuple[bytes, bytes]]

NGINX = [(b"x-original-uri", b"/api/x?a=1"), (b"x-original-method", b"PUT")]
INGRESS = [(b"x-original-url", b"https://app.example.com/api/x?a=1"), NGINX[1]]
CADDY_TRAEFIK = [(b"x-forwarded-uri", b"/api/x?a=1"), (b"x-forwarded-method", b"PUT")]


def read(
    fields: Fields, method: str = "GET", path: bytes = b"/bff/auth", query: bytes = b""
) -> Asked | None:
    """Read what the proxy says."""
    return asked_of_proxy(fields, method, path, query, origin=OWN)


@pytest.mark.parametrize("fields", [NGINX, INGRESS, CADDY_TRAEFIK])
def test_each_proxy_has_its_own_fields(fields: Fields) -> None:
    """nginx, ingress-nginx, Caddy and Traefik all say the same."""
    assert read([(b"cookie", b"x"), *fields]) == Asked("PUT", b"/api/x", b"?a=1")


def test_envoy_appends_the_path_and_keeps_the_method() -> None:
    """The path prefix is taken away, once; the rest is what was asked for, byte for byte."""
    for path, query, asked in (
        (b"/bff/auth/", b"", (b"/", b"")),
        (b"/bff/auth/api/%C3%A9", b"a=%2f&a=?", (b"/api/%C3%A9", b"?a=%2f&a=?")),
        (b"/bff/auth/bff/auth/x", b"", (b"/bff/auth/x", b"")),
        (b"/bff/auth//x", b"", (b"//x", b"")),
    ):
        assert read([], "DELETE", path, query) == Asked("DELETE", *asked)


def test_where_nothing_is_said_nothing_is_asked() -> None:
    """A method alone says nothing, and the query of the proxy's own request neither."""
    assert read([]) is None
    assert read([(b"x-forwarded-method", b"POST")], query=b"a=/b") is None
    assert read([(b"x_original_uri", b"/public"), (b"x.forwarded.uri", b"/public")]) is None
    assert read([(b"x-envoy-original-path", b"/public")]) is None


def test_without_a_method_it_is_a_get() -> None:
    """The first that is read of nginx' fields may be all that is configured."""
    assert read(NGINX[:1]) == Asked("GET", b"/api/x", b"?a=1")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ([*NGINX, (b"x-forwarded-uri", b"/public")], b"/bff/auth"),
        ([*NGINX, (b"x-original-uri", b"/api/x?a=1")], b"/bff/auth"),
        ([*CADDY_TRAEFIK, (b"x-original-url", b"")], b"/bff/auth"),
        ([*NGINX, (b"x-forwarded-method", b"GET")], b"/bff/auth"),
        ([(b"x-forwarded-method", b"GET"), (b"x-forwarded-method", b"PUT")], b"/bff/auth"),
        ([(b"x-original-uri", b"/public")], b"/bff/auth/admin"),
        ([(b"x-original-method", b"GET")], b"/bff/auth/admin"),
    ],
)
def test_what_is_said_twice_is_not_believed(fields: Fields, path: bytes) -> None:
    """A browser can send the fields of another kind of proxy: nobody guesses which is true."""
    with pytest.raises(Problem) as caught:
        read(fields, path=path)
    assert caught.value.code is Code.BAD_REQUEST
    assert caught.value.reason == "told_twice"


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com.evil.example/public",
        "https://app.example.com@evil.example/public",
        "https://app.example.com:8443/public",
        "http://app.example.com/public",
        "https://APP.example.com/public",
        "//app.example.com/public",
        "https://app.example.comhttps://app.example.com/public",
        "",
    ],
)
def test_only_a_url_of_our_own_origin_is_shortened_to_its_path(url: str) -> None:
    """Anything else keeps what makes its path one that is refused."""
    asked = read([(b"x-original-url", url.encode())])
    assert asked is not None
    assert not asked.path.startswith(b"/") or asked.path.startswith(b"//")


def test_the_way_back_is_one_parameter() -> None:
    """What a query holds can become no other parameter of the login."""
    asked = Asked("GET", b"/a/%2b;b", b"?x=1&prompt=none&return_to=//evil.example#\xff")
    for base in ("/bff/login", "/bff/login?acr_values=gold"):
        parts = urlsplit(asked.login_url(base))
        assert parts.path == "/bff/login"
        assert not parts.fragment
        pairs = parse_qsl(parts.query, errors="surrogateescape")
        assert [name for name, _ in pairs if name != "acr_values"] == ["return_to"]
        assert pairs[-1][1].encode("utf-8", "surrogateescape") == asked.path + asked.query


@given(path=st.binary(max_size=30), query=st.binary(max_size=30))
def test_no_byte_is_changed_on_the_way(path: bytes, query: bytes) -> None:
    """For all targets: path and query together are what the proxy said."""
    target = b"/" + path.replace(b"?", b"") + b"?" + query
    asked = read([(b"x-forwarded-uri", target)])
    assert asked is not None
    assert asked.path + asked.query == target


@given(path=st.text(alphabet="abc/%2f;=~-._", max_size=20), query=st.text(max_size=20))
def test_a_login_leads_back_to_where_it_began_or_home(path: str, query: str) -> None:
    """For all targets: what the login takes as its way back is this path, or `/`."""
    target = f"/{path}?{query}".encode()
    asked = read([(b"x-original-uri", target)])
    assert asked is not None
    ((_, return_to),) = parse_qsl(
        urlsplit(asked.login_url("/bff/login")).query, errors="surrogateescape"
    )
    judged = safe_return_to(return_to)
    assert judged == "/" or judged.partition("?")[0] == f"/{path}"
