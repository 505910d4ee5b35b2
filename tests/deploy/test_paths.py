"""What is judged is what is sent, behind nginx and Caddy too: paths by raw sockets.

A proxy matches its own rules on a path that it has decoded and shortened, asks about one, and sends
one: only where the last two are the same bytes is the policy that of the path the upstream sees.
"""

from __future__ import annotations

import pytest

from .conftest import Front

NAVIGATES = ("Sec-Fetch-Mode: navigate", "Accept: text/html")
HARMLESS = (
    "/open", "/open/", "/open/x?", "/open/a%20b", "/open/caf%C3%A9", "/open/~a:b@c+d,e=f",
    "/open/x%2By", "/open/x?y=%2f..%2f&y=a&y", "/open/x?a=/../admin", "/open/x?%23", "/%6fpen/x",
    "/open/%61%2d%7e", "/open/x?q=http://h/p?r", "/open/x!$'()*",
)  # fmt: skip
HOSTILE = (
    "/open/../admin/x", "/open/..%2fadmin/x", "/open/%2e%2e/admin/x", "/open/.%2e/admin/x",
    "/open%2f..%2fadmin/x", "/open/..;/admin/x", "/open/..;a=b/admin/x", "/open/%252e%252e/admin",
    "/open/..\\admin\\x", "/open/..%5cadmin%5cx", "/open/%c0%ae%c0%ae/admin", "//admin/x",
    "/open//..//admin", "/open/%00/admin", "/open/x%0d%0aX-Y:%20z", "/./admin/x", "/admin/./x",
    "/%61dmin/x", "/admin%2fx", "/admin;x/y", "/admin/x?/open", "/admin/x%3f/open",
    "/admin%23/open",
    "/open/x#/../../admin", "/admin/x#/open", "/ADMIN/../admin/x", "/open/%zz", "/open/%",
    "/bff/../admin/x", "/bff/..%2fadmin/x", "/bff/%2e%2e/admin/x", "/bff/..;/admin/x",
    "/bff/auth/../../admin/x", "/bff/session/../../admin/x", "/%62ff/../admin/x",
    "/bff%2f..%2fadmin",
    "/_bff_auth/../admin/x", "http://localhost/admin/x", "http://evil.example/admin/x",
    "https://localhost/open/../admin/x", "/open/x\x7f", "/open/\xe9", "/open/\x01", '/open/"x"',
)  # fmt: skip


@pytest.mark.parametrize("target", HARMLESS)
async def test_a_harmless_path_arrives_as_it_was_sent(proxy: Front, target: str) -> None:
    """Path and query, byte for byte; a lone `?` may be lost."""
    answer = await proxy.raw(target)
    assert answer.status == 200
    assert proxy.upstream.requests[-1].target in {target, target.removesuffix("?")}


async def test_no_spelling_leads_the_signed_out_past_the_policy(proxy: Front) -> None:
    """Refused, or what arrives is a path that is open to everybody and cannot be read otherwise."""
    for target in HOSTILE:
        before = len(proxy.upstream.requests)
        answer = await proxy.raw(target.encode("latin-1"))
        arrived = [received.target for received in proxy.upstream.requests[before:]]
        if arrived:
            (path, *_) = arrived[0].split("?")
            assert path.startswith("/open/"), target
            assert not doubtful(path), target
        else:
            assert answer.status < 500, target


def doubtful(path: str) -> set[str]:
    """Return the marks in a path that readers disagree about."""
    lower = path.lower()
    marks = ("..", "%2e", "%2f", "%5c", "\\", "//", "#", ";", "%00")
    return {mark for mark in marks if mark in lower}
