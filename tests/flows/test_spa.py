"""A built application in a folder, over real sockets (contract, BFF_SPA)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.raw_http import RawAnswer, exchange, request, said
from tests.support.site import Site, open_site

NAVIGATION = ("Sec-Fetch-Mode: navigate", "Accept: text/html")
SCRIPT = ("Sec-Fetch-Mode: cors", "Accept: */*")
PAGE = "<!doctype html><title>app</title><div id=app></div>"
CODE = "export const answer = 42\n"
HASHED = "/assets/index-4f3a9c21.js"
LARGE = 40 * 1024 * 1024


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a built application, and beside it what must not be served."""
    around = tmp_path_factory.mktemp("around")
    (around / "secret.txt").write_text("top secret")
    root = around / "spa"
    for folder in ("assets", "docs", "empty", ".git", ".well-known", "users"):
        (root / folder).mkdir(parents=True)
    files = {
        "index.html": PAGE, "assets/index-4f3a9c21.js": CODE, "docs/index.html": "docs",
        "assets/index-4f3a9c21.js.map": "{}", "app.js": CODE, "logo.svg": "<svg/>",
        ".env": "top secret", ".git/config": "top secret",
        ".well-known/security.txt": "Contact: us",
        "nonce.html": '<script nonce="BFF_CSP_NONCE">1</script>', "empty.txt": "",
        "digits.bin": "0123456789",
    }  # fmt: skip
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "app.js.gz").write_bytes(gzip.compress(CODE.encode()))
    (root / "app.js.br").write_bytes(b"as brotli")
    (root / "link.txt").symlink_to(around / "secret.txt")
    (root / "away").symlink_to(around)
    with (root / "large.bin").open("wb") as large:
        large.truncate(LARGE)
    return root


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service with that folder."""
    added = {"connect-src": ["https://api.example.com"], "worker-src": ["*"]}
    env = {"BFF_SPA": str(built), "BFF_SPA_CSP": json.dumps(added)}
    with open_site(tmp_path_factory.mktemp("site"), env) as site:
        yield site


async def get(site: Site, path: str | bytes, *fields: str, method: str = "GET") -> RawAnswer:
    """Send one request."""
    data = request(path, *fields, method=method)
    if method != "HEAD":
        return await exchange(site.base_url, data)
    head = (await said(site.base_url, data)).split(b"\r\n\r\n")
    assert head[1:] == [b""], "no body"
    lines = [line.partition(":") for line in head[0].decode().split("\r\n")]
    headers = {name.lower(): value.strip() for name, _, value in lines[1:]}
    return RawAnswer(int(lines[0][0].split(" ")[1]), headers, b"", b"")


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/orders", "/orders/7?a=b", "/users/john.doe", "/empty", "/empty/",
             "/missing.js", "/urn:isbn:1", "/%FF", "/a*", "/users", "/app.js/"],
)  # fmt: skip
async def test_a_navigation_without_a_file_gets_the_start_page(site: Site, path: str) -> None:
    """Deep links are for the application to understand, also with dots, colons and stars."""
    for fields in (NAVIGATION, ("Accept: text/html,application/xhtml+xml",)):
        answer = await get(site, path, *fields)
        assert (answer.status, answer.body.decode()) == (200, PAGE)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert "accept-encoding" in answer.headers["vary"].lower()


async def test_caches_tell_the_start_page_from_a_missing_asset(site: Site) -> None:
    """The answer at a path without a file depends on who asks, and says so."""
    for fields, status in ((NAVIGATION, 200), (SCRIPT, 404)):
        answer = await get(site, "/orders", *fields)
        assert answer.status == status
        assert {"Accept", "Sec-Fetch-Mode"} <= set(answer.headers["vary"].split(", "))
    assert (await get(site, "/", *NAVIGATION)).headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/missing.js", "/assets/index-00000000.js", "/orders", "/empty/"])
async def test_a_missing_asset_is_not_found(site: Site, path: str) -> None:
    """What a script, an image or any program asks for is 404, and no cache keeps that."""
    for fields in (SCRIPT, ("Sec-Fetch-Mode: no-cors", "Accept: text/html"), ("Accept: */*",), ()):
        answer = await get(site, path, *fields)
        assert (answer.status, json.loads(answer.body)["code"]) == (404, "not_found")
        assert answer.headers["cache-control"] == "no-store"
        assert "sec-fetch-mode" in answer.headers["vary"].lower()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_files_are_only_read(site: Site, method: str) -> None:
    """Every other method is 405 and told which ones there are."""
    answer = await get(site, "/app.js", "X-CSRF: 1", "Content-Length: 0", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_names_with_a_hash_are_kept_for_a_year(site: Site) -> None:
    """They and their source maps; everything else is asked for each time."""
    for path in (HASHED, HASHED + ".map"):
        headers = (await get(site, path, *SCRIPT)).headers
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/", "/app.js", "/logo.svg", "/docs/", "/.well-known/security.txt"):
        headers = (await get(site, path, *SCRIPT)).headers
        assert headers["cache-control"] == "no-cache"
        assert headers["etag"].startswith('"')


async def test_what_the_client_has_is_not_sent_again(site: Site) -> None:
    """304 by entity tag and by date, with the headers that caches renew; HEAD like GET."""
    first = (await get(site, "/")).headers
    for field in (
        f"If-None-Match: {first['etag']}",
        f"If-Modified-Since: {first['last-modified']}",
    ):
        for method in ("GET", "HEAD"):
            answer = await get(site, "/", field, method=method)
            assert (answer.status, answer.body, answer.rest) == (304, b"", b"")
            for name in ("etag", "cache-control", "vary", "content-security-policy"):
                assert answer.headers[name] == first[name]
            assert "content-length" not in answer.headers
    assert (await get(site, "/", 'If-None-Match: "other"')).status == 200


async def test_a_new_start_page_is_served_at_once(site: Site, built: Path) -> None:
    """A release replaces the page while the service runs; the old tag is no longer current."""
    old = (await get(site, "/")).headers["etag"]
    try:
        (built / "new.html").write_text(PAGE.replace("app", "new"))
        (built / "new.html").replace(built / "index.html")
        answer = await get(site, "/", f"If-None-Match: {old}")
        assert (answer.status, answer.body.decode()) == (200, PAGE.replace("app", "new"))
        (built / "index.html").unlink()
        answer = await get(site, "/orders", *NAVIGATION)
        assert answer.status == 404
        assert b"Nothing is here" in answer.body
    finally:
        (built / "index.html").write_text(PAGE)
    assert (await get(site, "/")).headers["etag"] == old


async def test_compressed_forms_are_served_under_the_files_own_type(site: Site) -> None:
    """`.br` and `.gz` beside a file, by the client's weights, each with its own tag."""
    tags = set()
    for accepts, coding in (
        ("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0.1, gzip", "gzip"), ("br;q=0", None),
    ):  # fmt: skip
        answer = await get(site, "/app.js", f"Accept-Encoding: {accepts}")
        assert answer.headers.get("content-encoding") == coding
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert ("accept-ranges" in answer.headers) is (coding is None)
        tags.add(answer.headers["etag"])
        if coding == "gzip":
            assert gzip.decompress(answer.body) == CODE.encode()
        again = await get(
            site, "/app.js", f"Accept-Encoding: {accepts}",
            f"If-None-Match: {answer.headers['etag']}", "Range: bytes=0-1",
        )  # fmt: skip
        assert again.status == 304
    assert len(tags) == 3
    whole = await get(site, "/app.js", "Accept-Encoding: br", "Range: bytes=0-1")
    assert (whole.status, whole.body) == (200, b"as brotli")
    raw = (await get(site, "/app.js.gz", "Accept-Encoding: gzip")).headers
    assert raw["content-type"] == "application/gzip"
    assert "content-encoding" not in raw


async def test_a_part_is_served(site: Site) -> None:
    """206 for one range of this version, 416 behind the end, the whole for anything else."""
    answer = await get(site, "/digits.bin", "Range: bytes=2-4")
    assert (answer.status, answer.body) == (206, b"234")
    assert answer.headers["content-range"] == "bytes 2-4/10"
    assert answer.headers["content-length"] == "3"
    assert answer.headers["accept-ranges"] == "bytes"
    tag = answer.headers["etag"]
    answer = await get(site, "/digits.bin", "Range: bytes=-1", f"If-Range: {tag}")
    assert (answer.status, answer.body) == (206, b"9")
    for fields in (('If-Range: "old"', "Range: bytes=2-4"), ("Range: bytes=0-1,4-5",)):
        answer = await get(site, "/digits.bin", *fields)
        assert (answer.status, answer.body) == (200, b"0123456789")
    for path, total in (("/digits.bin", 10), ("/empty.txt", 0)):
        answer = await get(site, path, "Range: bytes=10-")
        assert (answer.status, answer.body) == (416, b"")
        assert answer.headers["content-range"] == f"bytes */{total}"
    head = await get(site, "/digits.bin", "Range: bytes=2-4", method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, "10")


async def test_a_head_is_the_get_without_its_body(site: Site) -> None:
    """The same fields, but for what differs with each answer."""
    for path in ("/", HASHED, "/app.js", "/large.bin", "/empty.txt", "/nonce.html"):
        one = (await get(site, path)).headers
        other = (await get(site, path, method="HEAD")).headers
        for headers in (one, other):
            for name in ("x-request-id", "date", "content-security-policy"):
                headers.pop(name, None)
        assert one == other


@pytest.mark.parametrize(
    ("path", "kind"),
    [(HASHED, "text/javascript; charset=utf-8"), (HASHED + ".map", "application/json"),
     ("/logo.svg", "image/svg+xml"), ("/large.bin", "application/octet-stream")],
)  # fmt: skip
async def test_types_are_told_and_not_guessed(site: Site, path: str, kind: str) -> None:
    """A type from our table, and `nosniff`."""
    headers = (await get(site, path)).headers
    assert headers["content-type"] == kind
    assert headers["x-content-type-options"] == "nosniff"


NEVER = [
    "/.env", "/.git/config", "/%2eenv", "/.git", "/.hidden", "/.well-known/nothing", "/docs/.env",
    "/link.txt", "/away/secret.txt", "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt",
    "/assets/../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/..\\secret.txt",
    "/..%5csecret.txt", "//etc/passwd", "/etc/passwd", "/app.js%00", "/app.js%00.html",
    "/app.js::$DATA", "/C:/secret.txt", "/NUL", "/%c0%ae%c0%ae/secret.txt", "/app.js%20",
    "/app.js.",    "/.;/secret.txt", "/..;/secret.txt", "/~root", "/proc/self/environ",
]  # fmt: skip


@pytest.mark.parametrize("path", NEVER)
async def test_nothing_outside_or_hidden_is_served(site: Site, path: str) -> None:
    """Not by dots, links, encodings, NUL or other systems' names, whoever asks."""
    for fields in (SCRIPT, NAVIGATION):
        answer = await get(site, path, *fields)
        assert answer.status in {400, 404} or answer.body.decode() == PAGE
        assert b"secret" not in answer.body
        assert b"root:" not in answer.body
    assert (await get(site, path, *SCRIPT)).status in {400, 404}
    if "/." in path or "/%2e" in path:
        assert (await get(site, path, *NAVIGATION)).status in {400, 404}


async def test_well_known_files_are_served(site: Site) -> None:
    """The one folder with a dot that is meant for others (RFC 8615)."""
    assert (await get(site, "/.well-known/security.txt")).body == b"Contact: us"


async def test_a_folder_with_a_page_of_its_own(site: Site) -> None:
    """Its page is at the slash; without it the browser is sent there, with its query."""
    assert (await get(site, "/docs/")).body == b"docs"
    answer = await get(site, "/docs?a=%22b%22&c")
    assert (answer.status, answer.headers["location"]) == (308, "/docs/?a=%22b%22&c")
    answer = await get(site, "/docs", method="HEAD")
    assert (answer.status, answer.headers["location"]) == (308, "/docs/")


async def test_pages_have_a_strict_policy(site: Site) -> None:
    """Own origin only, with what BFF_SPA_CSP adds and the provider's sign-out; never framed."""
    provider = "{0.scheme}://{0.netloc}".format(urlsplit(site.provider.issuer))
    for path in ("/", "/orders", "/docs/", "/logo.svg"):
        headers = (await get(site, path, *NAVIGATION)).headers
        assert headers["content-security-policy"] == (
            "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
            "font-src 'self' data:; media-src 'self' data: blob:; object-src 'none'; "
            f"base-uri 'self'; form-action 'self' {provider}; frame-ancestors 'none'; "
            "connect-src 'self' https://api.example.com; worker-src 'self' *"
        )
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert "content-security-policy" not in (await get(site, HASHED)).headers


def test_a_weak_addition_is_logged_at_the_start(site: Site) -> None:
    """`*` for workers is named; a further host is not."""
    weak = site.service.events("spa.csp_weakened")
    assert [line["addition"] for line in weak] == ["worker-src *"]


async def test_a_page_may_have_a_nonce_for_its_own_scripts(site: Site) -> None:
    """`BFF_CSP_NONCE` becomes the nonce of the policy, another in each answer, not revalidated."""
    seen = set()
    for _ in range(2):
        answer = await get(site, "/nonce.html", "If-None-Match: *", "Range: bytes=0-3")
        assert answer.status == 200
        nonce = answer.body.decode().removeprefix('<script nonce="').removesuffix('">1</script>')
        assert len(nonce) >= 22
        policy = answer.headers["content-security-policy"]
        assert f"script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'" in policy
        assert not {"etag", "last-modified", "accept-ranges"} & answer.headers.keys()
        seen.add(nonce)
    assert len(seen) == 2


async def test_a_large_file_is_streamed_and_stopped(site: Site, built: Path) -> None:
    """40 MB come whole; a client that leaves, or a file cut short, does not stop the service."""
    answer = await get(site, "/large.bin")
    assert len(answer.body) == LARGE
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(bytes(LARGE)).digest()
    answer = await get(site, "/large.bin", f"Range: bytes=1-{LARGE // 2}")
    assert (answer.status, len(answer.body)) == (206, LARGE // 2)

    host, port = urlsplit(site.base_url).hostname, urlsplit(site.base_url).port
    with socket.create_connection((host, port or 80), 8) as leaver:
        leaver.sendall(request("/large.bin"))
        assert leaver.recv(1000).startswith(b"HTTP/1.1 200")
    reader, writer = await asyncio.open_connection(host, port, limit=65_536)
    writer.write(request("/large.bin"))
    await reader.readuntil(b"\r\n\r\n")
    with (built / "large.bin").open("r+b") as large:
        large.truncate(LARGE // 2)
    received = 0
    try:
        while piece := await reader.read(1_048_576):
            received += len(piece)
    except ConnectionError:
        pass
    writer.close()
    assert received < LARGE, "cut short, never filled up"
    assert len(site.service.events("spa.broke_off")) == 1
    assert site.service.events("request.crashed") == []
    assert (await get(site, "/")).status == 200


async def test_many_large_answers_leave_small_ones_quick(site: Site) -> None:
    """Clients that read nothing hold neither the event loop nor the threads."""
    host, port = urlsplit(site.base_url).hostname, urlsplit(site.base_url).port
    waiting = [await asyncio.open_connection(host, port, limit=1024) for _ in range(60)]
    try:
        for reader, writer in waiting:
            writer.write(request("/large.bin"))
            await reader.readuntil(b"\r\n\r\n")
        assert (await get(site, "/app.js")).body.decode() == CODE
    finally:
        for _, writer in waiting:
            writer.close()
