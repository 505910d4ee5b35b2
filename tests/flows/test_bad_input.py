"""Bad input to every route of the contract: never 5xx, never a hang, nothing of our inside.

What well-behaved clients would put right is sent through raw sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.flows.bad_requests import (
    ALLOWED,
    BODIES,
    COOKIES,
    EVERYTHING,
    FORMS,
    METHODS,
    PATHS,
    QUERY,
    bad_bodies,
    bad_queries,
    judge,
)
from tests.support.raw_http import exchange, request
from tests.support.site import Site, open_site

AT_ONCE = 16
NAVIGATION = ("Sec-Fetch-Mode: navigate", "Accept: text/html,*/*;q=0.8")
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with every optional route switched on."""
    with open_site(tmp_path_factory.mktemp("site"), EVERYTHING) as site:
        yield site


async def judge_all(site: Site, cases: list[tuple[str, bytes]], *, page: bool = False) -> None:
    """Send every request, some at a time, and judge every answer; name all that are wrong."""
    wrong: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(label: str, data: bytes) -> None:
        async with gate:
            try:
                judge(await exchange(site.base_url, data), page=page, head=data.startswith(b"HEAD"))
            except (AssertionError, ValueError, OSError, KeyError) as error:
                wrong.append(f"{label}: {error!r}"[:600])

    await asyncio.gather(*(one(label, data) for label, data in cases))
    assert not wrong, "\n".join(wrong)


async def test_every_parameter_missing_repeated_huge_or_malformed(site: Site) -> None:
    """Every query parameter of every route, with every odd value."""
    await judge_all(site, list(bad_queries()))


async def test_every_body_and_content_type(site: Site) -> None:
    """Every route that takes a body, with bodies of all kinds, framed both ways."""
    await judge_all(site, list(bad_bodies()))


async def test_every_method_on_every_route(site: Site) -> None:
    """A wrong method is 405 and names the right ones; an unlisted path is 404."""
    paths = sorted({*QUERY, *FORMS, "/", "/nothing", "/bff/sessions/x"})
    cases = [
        (f"{method} {path}", request(path, "Content-Length: 0", method=method))
        for method in METHODS
        for path in paths
    ]
    await judge_all(site, cases)
    for path, methods in ALLOWED.items():
        for method in set(METHODS) - methods - {"HEAD"}:
            answer = await exchange(site.base_url, request(path, method=method))
            assert answer.status == 405, (method, path)
            if method != "TRACE":
                assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


async def test_every_odd_path(site: Site) -> None:
    """Nothing under `/bff/` that is not listed is served, however it is spelled."""
    await judge_all(site, [(path, request(path)) for path in PATHS])
    for path in PATHS:
        answer = await exchange(site.base_url, request(path))
        assert answer.status in {400, 404}, path
        assert b"authenticated" not in answer.body


async def test_every_odd_cookie(site: Site) -> None:
    """A cookie that is not ours means nobody is signed in, whatever it holds."""
    cases = [
        (f"{path} {label}", request(path, f"Cookie: {value}"))
        for path in (*QUERY, "/", "/api/x", "/open/x")
        for label, value in COOKIES.items()
    ]
    await judge_all(site, cases)
    for label, value in COOKIES.items():
        answer = await exchange(site.base_url, request("/bff/session", f"Cookie: {value}"))
        assert (answer.status, json.loads(answer.body)["authenticated"]) == (200, False), label
        answer = await exchange(site.base_url, request("/bff/session", *(f"Cookie: {value}",) * 9))
        assert answer.status in {200, 431}, label


async def test_people_get_pages(site: Site) -> None:
    """The same refusals as pages, valid in their frame, for whoever navigates."""
    paths = [*PATHS, "/bff/callback", "/bff/logout?go=x", "/bff/login?prompt=x", "/bff/refresh"]
    cases = [(path, request(path, *NAVIGATION)) for path in paths]
    cases += [
        (
            f"{path} {label}",
            request(path, *NAVIGATION, "Content-Length: 0", f"X: {label}", method="PUT"),
        )
        for path in FORMS
        for label in list(BODIES)[:2]
    ]
    await judge_all(site, cases, page=True)


@pytest.mark.parametrize(
    ("fields", "page"),
    [
        (("Sec-Fetch-Mode: navigate",), True),
        (("Sec-Fetch-Mode: navigate", "Accept: application/json"), True),
        (("Sec-Fetch-Mode: cors", "Accept: text/html"), False),
        (("Sec-Fetch-Mode: no-cors",), False),
        (("Accept: text/html",), True),
        (("Accept: application/xhtml+xml, text/html;q=0.9",), True),
        (("Accept: application/json",), False),
        (("Accept: */*",), False),
        ((), False),
        (("Accept: \xff\xfe",), False),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/bff/callback", "/nothing", "/bff/x", "/api/x", "/a%2fb"])
async def test_who_gets_a_page_and_who_a_problem(
    site: Site, path: str, fields: tuple[str, ...], page: bool
) -> None:
    """`Sec-Fetch-Mode` decides, and `Accept` only where it is missing (contract, section 6)."""
    answer = await exchange(site.base_url, request(path, *fields))
    assert answer.status in {400, 401, 404}
    judge(answer, page=page)
    assert "Sec-Fetch-Mode" in answer.headers["vary"]


async def test_a_body_that_is_too_large_is_413(site: Site) -> None:
    """The limit is counted, not believed: also without Content-Length."""
    body = b"logout_token=" + b"a" * 100_000
    for fields, data in (
        ((f"Content-Length: {len(body)}",), body),
        (("Transfer-Encoding: chunked",), b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
    ):
        sent = request("/bff/backchannel-logout", FORM, *fields, method="POST", body=data)
        answer = await exchange(site.base_url, sent)
        judge(answer)
        assert (answer.status, json.loads(answer.body)["code"]) == (413, "too_large")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(site: Site) -> None:
    """A body that never comes whole is no crash, and the service goes on."""
    before = len(site.service.events("request.crashed"))
    port = int(site.base_url.rpartition(":")[2])
    for path in FORMS:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = request(
            path, FORM, "Content-Length: 1000", "Sec-Fetch-Site: same-origin", method="POST"
        )
        writer.write(head + b"state=a")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.2)
    assert (await exchange(site.base_url, request("/bff/healthz"))).status == 200
    assert len(site.service.events("request.crashed")) == before


async def test_nothing_of_all_this_crashed(site: Site) -> None:
    """Runs last: no handler raised what it should not, whatever the answer was."""
    assert site.service.events("request.crashed") == []
    assert [line for line in site.service.log if "exception" in line] == []
