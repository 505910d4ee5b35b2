"""The contract's table of routes, and what may be wrong with a request to each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

from tests.support.raw_http import RawAnswer, request

EVERYTHING = {
    "BFF_FRONTCHANNEL_LOGOUT": "true",
    "BFF_INITIATE_LOGIN": "true",
    "BFF_FORWARD_AUTH_KEY": "a key for the reverse proxy of the tests",
}
QUERY = {
    "/bff/login": (
        "return_to",
        "prompt",
        "login_hint",
        "acr_values",
        "max_age",
        "ui_locales",
        "claims",
        "silent",
        "provider",
    ),
    "/bff/callback": ("code", "state", "iss", "error", "error_description", "session_state"),
    "/bff/session": ("slide",),
    "/bff/logout": ("go",),
    "/bff/logged-out": ("state",),
    "/bff/frontchannel-logout": ("iss", "sid"),
    "/bff/initiate-login": ("iss", "login_hint", "target_link_uri"),
    "/bff/sessions": (),
    "/bff/events": (),
    "/bff/auth": (),
    "/bff/client.js": ("v",),
    "/bff/client.d.ts": (),
    "/bff/jwks.json": (),
    "/bff/healthz": (),
    "/bff/readyz": (),
}
FORMS = {
    "/bff/callback": ("code", "state", "iss", "error"),
    "/bff/logout": (),
    "/bff/refresh": (),
    "/bff/backchannel-logout": ("logout_token",),
    "/bff/initiate-login": ("iss", "login_hint", "target_link_uri"),
}
ALLOWED = {
    "/bff/login": {"GET"}, "/bff/callback": {"GET", "POST"}, "/bff/session": {"GET"},
    "/bff/refresh": {"POST"}, "/bff/logout": {"GET", "POST"}, "/bff/logged-out": {"GET"},
    "/bff/backchannel-logout": {"POST"}, "/bff/client.js": {"GET", "HEAD"},
    "/bff/client.d.ts": {"GET", "HEAD"}, "/bff/jwks.json": {"GET", "HEAD"},
    "/bff/healthz": {"GET", "HEAD"}, "/bff/readyz": {"GET", "HEAD"},
    "/bff/initiate-login": {"GET", "POST"}, "/bff/frontchannel-logout": {"GET"},
}  # fmt: skip
METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY",
    "M-SEARCH",
)  # fmt: skip
VALUES = {
    "empty": "",
    "space": "+",
    "huge": "a" * 12_000,
    "too huge": "a" * 20_000,
    "a bare percent": "%",
    "no hexadecimal": "%zz",
    "NUL": "%00",
    "a line break": "%0d%0aX-Evil:%201",
    "not UTF-8": "%ff%fe",
    "overlong": "%c0%af",
    "a lone surrogate": "%ed%a0%80",
    "not ASCII": "%f0%9f%92%a9",
    "a script": quote("<script>alert(1)</script>"),
    "quotes": quote("'\"`{{7*7}}${7*7}%s%n"),
    "number": "99999999999999999999999999",
    "negative": "-1",
    "JSON": quote('{"$ne": null}'),
    "a URL": quote("https://evil.example/", safe=""),
}
RAW_QUERIES = {
    "raw bytes": b"state=\xff\xfe\x80",
    "only separators": b"&&&==&;=&",
    "many parameters": b"&".join(b"p%d=1" % number for number in range(500)),
    "names in brackets": b"state[]=1&state[x]=2&code[0]=3",
    "a raw quote": b"state=\"'<>`{}|\\^",
    "a second question mark": b"?state=1?code=2",
    "a raw tab": b"state=%09\xa0",
}
FORM = "application/x-www-form-urlencoded"
BODIES: dict[str, tuple[str, bytes]] = {
    "no body": (FORM, b""),
    "no content type": ("", b"state=a&code=b&logout_token=c"),
    "JSON": ("application/json", b'{"logout_token": "x"}'),
    "multipart": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="state"\r\n\r\na\r\n--x--\r\n',
    ),
    "multipart without end": ("multipart/form-data", b"--x"),
    "a content type that is none": ("\xff;;;=", b"state=a"),
    "another charset": ("application/x-www-form-urlencoded; charset=utf-16", b"\xff\xfes\x00=\x00"),
    "not UTF-8": (FORM, b"state=\xff&logout_token=\xfe"),
    "many fields": (FORM, b"&".join([b"a=1"] * 5000)),
    "repeated": (FORM, b"state=a&state=b&logout_token=a&logout_token=b"),
    "huge": (FORM, b"logout_token=" + b"a" * 200_000),
    "huge name": (FORM, b"a" * 66_000 + b"=1"),
    "NUL": (FORM, b"state=\x00&logout_token=%00"),
}  # fmt: skip
COOKIES = {
    "empty": "bff=",
    "garbage": "bff=\x80\xff\xa0",
    "huge": "bff=" + "a" * 8_000,
    "many": "; ".join(f"c{number}=1" for number in range(900)),
    "no equals": "bff",
    "unsigned": "bff=" + "A" * 43,
    "forged": "bff=" + "A" * 43 + "." + "B" * 43,
    "dots": "bff=" + "." * 100,
    "quoted": 'bff="a;b"',
    "two": "bff=a; bff=b",
    "login garbage": "bff-login=\xe9; bff-login=x",
    "separators": ";;;===,,,$Version=1; bff =x",
    "host prefixed": "__Host-Http-bff=x; __Host-bff=x; BFF=x",
}
PATHS = (
    "/bff", "/bff/", "/bff/nothing", "/bff/login/", "/bff/login/x", "/BFF/login", "/bff/Login",
    "/bff/login%20", "/bff/%6Cogin", "/%62ff/login", "/%62%66%66/session",
    "/bff/../bff/session", "/bff/./session", "/bff//session", "//bff/session",
    "/bff/session;x=1", "/bff;x/session", "/bff%2fsession", "/bff%5csession", "/bff\\session",
    "/bff/session%00", "/bff/%0a", "/bff/%", "/bff/%zz", "/bff/%c0%ae%c0%ae/session",
    "/bff/.%2e/session", "/bff/..;/session", "/docs", "/openapi.json", "/redoc", "/bff/docs",
    "/bff/openapi.json", "/nothing", "/favicon.ico", "/.env", "/.git/config",
    "/bff/static/client.js", "/bff/templates/error.html",
)  # fmt: skip
INSIDE = re.compile(
    rb"traceback|starlette|fastapi|uvicorn|pydantic|redis|python|httpx|joserfc|authlib|site-packages"
    rb"|\.py\b|/work/|bff\.(web|oidc|sessions)|exception|invalid_grant|no_login_cookie|login_unknown",
    re.IGNORECASE,
)
CODES = {
    "unauthenticated", "csrf", "forbidden", "step_up_required", "bad_path", "login_failed",
    "login_expired", "rate_limited", "upstream_unavailable", "upstream_timeout",
    "provider_unavailable", "store_unavailable", "not_found", "method_not_allowed",
    "bad_request", "too_large",
}  # fmt: skip


def judge(answer: RawAnswer, *, page: bool = False, head: bool = False) -> None:
    """Assert what holds for every answer, and for every refusal more than that."""
    assert 200 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.rest == b""
    assert not any(name.startswith("x-evil") for name in answer.headers)
    assert answer.headers.get("x-content-type-options") == "nosniff"
    if answer.status < 400:
        return
    assert not INSIDE.search(answer.body), answer.body[:600]
    assert answer.headers["cache-control"] == "no-store"
    kind = answer.headers["content-type"].partition(";")[0]
    if "x-request-id" not in answer.headers:  # no request: the server itself could not read it
        assert answer.status in {400, 431}
        assert json.loads(answer.body)["code"] in {"bad_request", "too_large"}
        return
    if page:
        assert kind == "text/html"
        assert b'<html lang="' in answer.body
        assert b"<title>" in answer.body
        assert b"<main>" in answer.body
        assert b"<script" not in answer.body
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    else:
        assert kind == "application/problem+json"
        if not head:
            told = json.loads(answer.body)
            assert told["status"] == answer.status
            assert told["code"] in CODES
            assert told["request_id"] == answer.headers["x-request-id"]
            assert {"title", "detail", "type"} <= told.keys()


def bad_queries() -> Iterator[tuple[str, bytes]]:
    """Give every route with every value of every parameter: missing, odd, and twice."""
    for path, names in QUERY.items():
        yield f"{path} without", request(path)
        for name in names:
            for label, value in VALUES.items():
                yield f"{path} {name} {label}", request(f"{path}?{name}={value}")
            twice = f"{path}?{name}=a&x=1&{name}=b"
            yield f"{path} {name} twice", request(twice)
            yield f"{path} {name} alone", request(f"{path}?{name}")
        for label, raw in RAW_QUERIES.items():
            yield f"{path} {label}", request(path.encode() + b"?" + raw)


def bad_bodies() -> Iterator[tuple[str, bytes]]:
    """Give every route that takes a body with every kind of body."""
    own = "Sec-Fetch-Site: same-origin"
    for path, names in FORMS.items():
        for label, (kind, body) in BODIES.items():
            fields = [own, f"Content-Length: {len(body)}"]
            fields += [f"Content-Type: {kind}"] if kind else []
            yield f"{path} {label}", request(path, *fields, method="POST", body=body)
            chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            fields = [own, "Transfer-Encoding: chunked", "Content-Type: " + (kind or "x/y")]
            yield f"{path} {label} chunked", request(path, *fields, method="POST", body=chunked)
        for name in names:
            for label, value in VALUES.items():
                body = f"{name}={value}".encode()
                yield (
                    f"{path} {name} {label}",
                    request(
                        path, own, f"Content-Type: {FORM}",
                        f"Content-Length: {len(body)}", method="POST", body=body,
                    ),
                )  # fmt: skip
