"""The browser-less user agent sends and follows what a browser sends and follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qsl

import httpx2
import pytest

from tests.support.cookie_jar import CookieJar
from tests.support.fetch_rules import fetch_site, is_trustworthy, origin, site
from tests.support.history import TooManyStepsError
from tests.support.page import read, refresh_target
from tests.support.user_agent import UserAgent

APP = "http://localhost:8080"
PROVIDER = "http://127.0.0.1:8081"

Answer = Callable[[httpx2.Request], httpx2.Response]


class Web:
    """Answers by URL without its query, and the requests that came."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.get(str(request.url.copy_with(query=None)))
        return answer(request) if answer else html("<p>nothing here</p>", status=404)

    def redirect(self, url: str, to: str, status: int = 303) -> None:
        self.answers[url] = lambda _: httpx2.Response(status, headers={"location": to})

    def page(self, url: str, text: str, **headers: str) -> None:
        self.answers[url] = lambda _: html(text, 200, **headers)

    @property
    def last(self) -> httpx2.Request:
        return self.requests[-1]


def html(text: str, status: int = 200, **headers: str) -> httpx2.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, html=text, headers=fields)


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
async def agent(web: Web) -> AsyncIterator[UserAgent]:
    async with UserAgent(APP, transport=httpx2.MockTransport(web)) as agent:
        yield agent


def sites(web: Web) -> list[str]:
    return [request.headers.get("sec-fetch-site", "-") for request in web.requests]


async def test_a_typed_address_comes_from_nowhere(agent: UserAgent, web: Web) -> None:
    """A navigation that the user typed says `none`, `navigate`, `document`."""
    web.page(f"{APP}/", "<p>hello</p>")
    page = await agent.navigate("/")
    assert page.content.text == "hello"
    assert web.last.headers["sec-fetch-site"] == "none"
    assert web.last.headers["sec-fetch-mode"] == "navigate"
    assert web.last.headers["sec-fetch-dest"] == "document"
    assert web.last.headers["accept"].startswith("text/html")
    assert "origin" not in web.last.headers


async def test_redirects_are_followed_one_by_one(agent: UserAgent, web: Web) -> None:
    """Every step of a redirect chain is recorded, and the last page is shown."""
    web.redirect(f"{APP}/a", f"{PROVIDER}/b?x=1")
    web.redirect(f"{PROVIDER}/b", f"{APP}/c", 302)
    web.page(f"{APP}/c", "<title>end</title>")
    page = await agent.navigate("/a#part")
    assert [(visit.url, visit.status) for visit in agent.visits] == [
        (f"{APP}/a#part", 303),
        (f"{PROVIDER}/b?x=1#part", 302),
        (f"{APP}/c#part", 200),
    ]
    assert (page.path, page.content.title) == ("/c", "end")
    assert "#" not in str(web.last.url)


async def test_follow_false_shows_the_redirect_itself(agent: UserAgent, web: Web) -> None:
    """The first answer can be looked at before going on."""
    web.redirect(f"{APP}/a", "/b")
    page = await agent.navigate("/a", follow=False)
    assert (page.status, page.headers["location"], len(web.requests)) == (303, "/b", 1)


async def test_an_endless_chain_is_given_up(agent: UserAgent, web: Web) -> None:
    """A redirect onto itself ends in an error."""
    web.redirect(f"{APP}/a", "/a")
    with pytest.raises(TooManyStepsError):
        await agent.navigate("/a")


async def test_a_chain_through_another_site_is_cross_site(agent: UserAgent, web: Web) -> None:
    """A chain that a page began stays cross-site once it left the site, also on its way back."""
    web.redirect(f"{APP}/go", f"{PROVIDER}/on")
    web.redirect(f"{PROVIDER}/on", f"{APP}/back")
    await agent.navigate("/go", initiator=f"{APP}/")
    assert sites(web) == ["same-origin", "cross-site", "cross-site"]


async def test_strict_cookies_wait_for_a_hop_of_the_own_site(agent: UserAgent, web: Web) -> None:
    """A Strict cookie is not sent at the end of a cross-site chain, but after a refresh is."""
    web.redirect(f"{PROVIDER}/in", f"{APP}/callback")
    web.page(
        f"{APP}/callback",
        '<meta http-equiv="refresh" content="0; url=/home">',
        set_cookie="bff=1; Path=/; HttpOnly; SameSite=Strict",
    )
    web.page(f"{APP}/home", "home")
    agent.cookies.store(f"{APP}/", "old=1; Path=/; SameSite=Strict")
    agent.cookies.store(f"{APP}/", "login=1; Path=/; SameSite=Lax")
    page = await agent.navigate(f"{PROVIDER}/in")
    assert page.path == "/home"
    assert web.requests[1].headers["cookie"] == "login=1"
    assert sites(web) == ["none", "none", "same-origin"]
    assert set(web.requests[2].headers["cookie"].split("; ")) == {"old=1", "login=1", "bff=1"}


async def test_a_slow_refresh_is_left_to_be_read(agent: UserAgent, web: Web) -> None:
    """A page that goes on after half a minute is shown, not left."""
    web.page(f"{APP}/", '<meta http-equiv="refresh" content="30; url=/next">')
    assert (await agent.navigate("/")).path == "/"


@pytest.mark.parametrize(
    ("same_site", "sent"),
    [("Strict", False), ("Lax", False), ("None; Secure", True)],
)
async def test_a_cross_site_post_carries_only_cookies_without_same_site(
    agent: UserAgent, web: Web, same_site: str, sent: bool
) -> None:
    """Of the cookies only `SameSite=None` goes along with a form that another site submits."""
    web.page(f"{PROVIDER}/form", f'<form method=post action="{APP}/callback"><button>go</button>')
    web.page(f"{APP}/callback", "in")
    agent.cookies.store(f"{APP}/", f"c=1; Path=/; SameSite={same_site}")
    await agent.navigate(f"{PROVIDER}/form")
    await agent.submit()
    assert web.last.method == "POST"
    assert web.last.headers["origin"] == PROVIDER
    assert web.last.headers["sec-fetch-site"] == "cross-site"
    assert ("cookie" in web.last.headers) is sent


async def test_a_page_without_referrer_posts_from_a_null_origin(agent: UserAgent, web: Web) -> None:
    """`Referrer-Policy: no-referrer` makes the Origin of a form `null`, even to its own site."""
    form = "<form method=post></form>"
    web.page(f"{APP}/plain", form)
    web.page(f"{APP}/field", form, referrer_policy="no-referrer")
    web.page(f"{APP}/meta", f'<meta name="referrer" content="no-referrer">{form}')
    for path, sent in (("/plain", APP), ("/field", "null"), ("/meta", "null")):
        await agent.navigate(path)
        await agent.submit()
        assert web.last.headers["origin"] == sent
        assert web.last.headers["sec-fetch-site"] == "same-origin"


async def test_a_form_is_sent_with_its_fields_and_button(agent: UserAgent, web: Web) -> None:
    """Hidden fields go along, given fields replace, and a button outside its form counts."""
    web.page(
        f"{PROVIDER}/login",
        """<form method="get" action="/search"><input name="q"></form>
        <form id="f" method="post" action="/submit">
          <input type="hidden" name="xsrf" value="a&amp;b"><input name="login" value="old">
          <input type="checkbox" name="no" value="1"><input type="checkbox" name="on" checked>
          <input type="text" name="off" value="1" disabled>
          <select name="size"><option value="s">S<option value="m" selected>M</select>
          <button type="button" name="script">x</button>
        </form>
        <button form="f" name="answer" value="yes">Yes, do</button>
        <button form="f" name="answer" value="no">No</button>""",
    )
    await agent.navigate(f"{PROVIDER}/login")
    await agent.submit(lambda form: form.id == "f", {"login": "al ice", "new": "1"}, button="no")
    assert str(web.last.url) == f"{PROVIDER}/submit"
    assert web.last.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(web.last.content.decode()) == [
        ("xsrf", "a&b"),
        ("login", "al ice"),
        ("on", "on"),
        ("size", "m"),
        ("new", "1"),
        ("answer", "no"),
    ]


async def test_the_first_button_is_the_default(agent: UserAgent, web: Web) -> None:
    """Submitting without naming a button presses the first one, and a GET form has a query."""
    web.page(f"{APP}/", '<form action="/s?old=1"><input name=q value=1><button name=b value=2>')
    await agent.navigate("/")
    await agent.submit()
    assert str(web.last.url) == f"{APP}/s?q=1&b=2"


async def test_what_is_not_there_is_a_lookup_error(agent: UserAgent, web: Web) -> None:
    """No page, form, button or link of that kind: LookupError."""
    with pytest.raises(LookupError, match="no page"):
        await agent.submit()
    web.page(f"{APP}/", "<form><button>Go</button></form>")
    await agent.navigate("/")
    with pytest.raises(LookupError, match="no such form"):
        await agent.submit(1)
    with pytest.raises(LookupError, match="no button"):
        await agent.submit(button="stay")
    with pytest.raises(LookupError, match="no link"):
        await agent.click("away")


async def test_a_link_is_followed_from_its_page(agent: UserAgent, web: Web) -> None:
    """A click names the page it stands on and resolves against it."""
    web.page(f"{PROVIDER}/x/y", '<a href="z?a=1"><b>Cancel</b> it</a>')
    await agent.navigate(f"{PROVIDER}/x/y")
    await agent.click("cancel it")
    assert str(web.last.url) == f"{PROVIDER}/x/z?a=1"
    assert web.last.headers["sec-fetch-site"] == "same-origin"


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
)
async def test_only_307_and_308_keep_the_method(
    agent: UserAgent, web: Web, status: int, method: str
) -> None:
    """A redirected POST becomes GET without body, except by 307 and 308."""
    web.redirect(f"{APP}/a", "/b", status)
    await agent.navigate("/a", method="POST", data={"k": "v"})
    assert (web.last.method, web.last.content) == (method, b"k=v" if method == "POST" else b"")


async def test_a_script_fetches_as_its_own_origin(agent: UserAgent, web: Web) -> None:
    """`fetch` says `same-origin` and `cors`, sends cookies, and Origin only with unsafe methods."""
    agent.cookies.store(f"{APP}/", "bff=1; HttpOnly; Path=/; SameSite=Strict")
    await agent.fetch("/api/x")
    assert web.last.headers["sec-fetch-mode"] == "cors"
    assert web.last.headers["sec-fetch-site"] == "same-origin"
    assert web.last.headers["cookie"] == "bff=1"
    assert "origin" not in web.last.headers
    await agent.fetch("/api/x", method="POST", json={"a": 1})
    assert web.last.headers["origin"] == APP
    assert web.last.headers["content-type"] == "application/json"
    assert web.last.content == b'{"a": 1}'


async def test_a_foreign_script_fetches_without_strict_cookies(agent: UserAgent, web: Web) -> None:
    """A page of another site is told apart by Sec-Fetch-Site, Origin, and missing cookies."""
    agent.cookies.store(f"{APP}/", "bff=1; Path=/; SameSite=Strict")
    await agent.fetch("/api/x", initiator="https://evil.example/")
    assert web.last.headers["sec-fetch-site"] == "cross-site"
    assert web.last.headers["origin"] == "https://evil.example"
    assert "cookie" not in web.last.headers


async def test_headers_can_be_set_and_taken_away(agent: UserAgent, web: Web) -> None:
    """An old browser or a forger is played by replacing headers in any case, or by None."""
    await agent.fetch("/", headers={"sec-fetch-site": None, "SEC-FETCH-MODE": "no-cors"})
    assert "sec-fetch-site" not in web.last.headers
    assert web.last.headers.get_list("sec-fetch-mode") == ["no-cors"]


async def test_a_refused_cookie_is_not_sent(agent: UserAgent, web: Web) -> None:
    """What the jar refuses goes nowhere, and the jar tells why."""
    web.page("https://app.test/", "1", set_cookie="a=1; SameSite=None")
    await agent.navigate("https://app.test/")
    await agent.navigate("https://app.test/")
    assert "cookie" not in web.last.headers
    assert agent.cookies.refused[0] == "a: SameSite=None without Secure"


async def test_tabs_share_the_cookies(agent: UserAgent, web: Web) -> None:
    """A second tab sends what the first one was given, and keeps its own page."""
    web.page(f"{APP}/", "1", set_cookie="a=1")
    await agent.navigate("/")
    async with agent.another_tab() as tab:
        await tab.navigate("/two")
        assert web.last.headers["cookie"] == "a=1"
        assert agent.page is not None
        assert agent.page.path == "/"


@pytest.mark.parametrize(
    ("url", "field", "asked", "sent"),
    [
        (f"{APP}/", "a=1", "http://localhost:9999/", True),
        (f"{APP}/", "a=1", f"{PROVIDER}/", False),
        (f"{APP}/", "a=1; Secure", f"{APP}/", True),
        ("http://app.test/", "a=1; Secure", "http://app.test/", False),
        ("https://app.test/", "a=1; Secure", "http://app.test/", False),
        ("https://app.test/", "a=1; Domain=.app.test", "https://x.app.test/", True),
        ("https://app.test/", "a=1", "https://x.app.test/", False),
        ("https://app.test/", "a=1; Domain=other.test", "https://app.test/", False),
        ("https://app.test/x/y", "a=1", "https://app.test/x/z", True),
        ("https://app.test/x/y", "a=1", "https://app.test/xy", False),
        ("https://app.test/x/", "a=1; Path=/x", "https://app.test/x", True),
        ("https://app.test/x/", "a=1; Path=/x", "https://app.test/xy", False),
        ("https://app.test/", "a=1; Max-Age=0", "https://app.test/", False),
        ("https://app.test/", "a=1; Max-Age=60", "https://app.test/", True),
        ("https://app.test/", "a=1; SameSite=None", "https://app.test/", False),
        ("https://app.test/", "__Host-a=1; Secure; Path=/", "https://app.test/", True),
        ("https://app.test/", "__Host-a=1; Secure; Path=/x", "https://app.test/x", False),
        ("https://app.test/", "__Host-Http-a=1; Secure; Path=/", "https://app.test/", False),
        (
            "https://app.test/",
            "__Host-Http-a=1; Secure; HttpOnly; Path=/",
            "https://app.test/",
            True,
        ),
        ("https://app.test/", "nothing", "https://app.test/", False),
    ],
)
def test_the_jar_sends_a_cookie_where_it_belongs(
    url: str, field: str, asked: str, sent: bool
) -> None:
    """Host, path, Secure, prefixes and lifetime decide where a cookie goes."""
    jar = CookieJar()
    jar.store(url, field)
    assert bool(jar.header(asked)) is sent


def test_cookies_expire_and_are_deleted() -> None:
    """A cookie ends with its Max-Age, and one in the past deletes it."""
    now = 1000.0
    jar = CookieJar(lambda: now)
    jar.store(f"{APP}/", "a=1; Max-Age=10")
    jar.store(f"{APP}/", "b=1")
    assert jar.header(f"{APP}/") == "a=1; b=1"
    now = 1010.0
    assert jar.header(f"{APP}/") == "b=1"
    jar.store(f"{APP}/", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert jar.all() == []


def test_the_longest_path_comes_first() -> None:
    """Of two cookies of one name the one for the longer path is sent first."""
    jar = CookieJar()
    jar.store(f"{APP}/", "a=short; Path=/")
    jar.store(f"{APP}/", "a=long; Path=/x")
    assert jar.header(f"{APP}/x/y") == "a=long; a=short"
    assert jar.get("a") == "long"


def test_scripts_do_not_read_http_only_cookies() -> None:
    """`readable` is what `document.cookie` holds."""
    jar = CookieJar()
    jar.store(f"{APP}/", "a=1; HttpOnly")
    jar.store(f"{APP}/", "b=2")
    assert jar.readable(f"{APP}/") == {"b": "2"}


def test_sites_origins_and_secure_contexts() -> None:
    """Ports part origins but not sites; loopback http is as good as https."""
    assert site("http://localhost:1/") == site("http://localhost:2/")
    assert site("https://a.app.test/") == site("https://b.app.test/")
    assert site("http://127.0.0.1/") != site("http://127.0.1.1/")
    assert site("http://app.test/") != site("https://app.test/")
    assert origin("HTTPS://App.test:443/x") == "https://app.test"
    assert origin("http://[::1]:8080/x") == "http://[::1]:8080"
    assert fetch_site("https://a.app.test/", ["https://b.app.test/"]) == "same-site"
    assert [is_trustworthy(url) for url in (APP, PROVIDER, "http://[::1]/", "http://a.test/")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0; url=/next", (0.0, "/next")),
        ("0;URL='/next?a=1'", (0.0, "/next?a=1")),
        ("5", (5.0, "")),
        ("0; /next", (0.0, "/next")),
    ],
)
def test_refresh_values(value: str, expected: tuple[float, str]) -> None:
    """Seconds and target are found in each of the usual spellings."""
    assert refresh_target(value) == expected


def test_scripts_and_styles_are_no_text() -> None:
    """What a person does not read is not in the page's text."""
    content = read("<title>T</title><style>b{}</style><p>one <b>two</b><script>x()</script>")
    assert (content.title, content.text) == ("T", "one two")
