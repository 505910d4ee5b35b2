"""A browser without a screen, for tests that walk through sign-in pages.

Purpose: send what a browser sends (cookies by their rules, `Sec-Fetch-*`, `Origin`) and go where
it goes (redirects one by one, `<meta http-equiv="refresh">`), keeping a record of every step.
Rules: no scripts; a page that submits itself by script needs a `submit()`. `SameSite` looks at
the initiator and at every URL of a redirect chain, the strictest reading there is.
Flow: `navigate` or `submit` → a chain of requests → `Page`; `fetch` is what a page's script does.
Source: Fetch and HTML standards, Fetch Metadata, RFC 6265bis section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar as CookieJarOfTheClient
from http.cookiejar import DefaultCookiePolicy
from json import dumps
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit, urlunsplit

import httpx2

from tests.support.cookie_jar import CookieJar
from tests.support.fetch_rules import (
    fetch_metadata,
    fetch_site,
    origin,
    origin_of_post,
    site,
    with_fragment,
)
from tests.support.history import Page, TooManyStepsError, Visit

if TYPE_CHECKING:
    from tests.support.page import Form

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
ACCEPT_PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
FORM = "application/x-www-form-urlencoded"
SAFE = frozenset({"GET", "HEAD"})
MAX_STEPS = 25
FOLLOWED_REFRESH = 1.0  # seconds; a page that waits longer is meant to be read

NO_COOKIES = CookieJarOfTheClient(DefaultCookiePolicy(allowed_domains=[]))  # ours keeps them


class UserAgent:
    """One window of one browser profile; windows that share `cookies` share the profile.

    `base_url` is where paths lead (else the page that is shown). `visits` lists every request.
    `headers`, here and in every method, come on top of what a browser sends; None takes away.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        cookies: CookieJar | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        headers: Mapping[str, str | None] | None = None,
        timeout: float = 20.0,
    ) -> None:
        self.base_url = base_url
        self.cookies = CookieJar() if cookies is None else cookies
        self.visits: list[Visit] = []
        self.page: Page | None = None
        self._transport = transport
        self._headers = {"User-Agent": CHROME, "Accept-Language": "en", **(headers or {})}
        self._client = httpx2.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout,
            cookies=NO_COOKIES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def another_tab(self) -> UserAgent:
        """A further window of the same profile, with its own history and connections."""
        return UserAgent(
            self.base_url,
            cookies=self.cookies,
            transport=self._transport,
            headers=self._headers,
        )

    async def navigate(
        self,
        url: str,
        *,
        method: str = "GET",
        data: Mapping[str, str] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str | None] | None = None,
        initiator: str | None = None,
        follow: bool = True,
    ) -> Page:
        """Go to a URL and on to where it leads; returns the page that is shown in the end.

        `initiator`: URL of the page whose link or form it is; None: typed into the address bar.
        `data`: form fields to POST. `follow=False` stops at the first answer.

        Raises TooManyStepsError after 25 steps.
        """
        entries = list(data.items()) if isinstance(data, Mapping) else data
        body = None if entries is None else urlencode(entries).encode()
        target, chain = self._resolve(url), list[str]()
        for _ in range(MAX_STEPS):
            chain.append(target)
            sent = self._navigation_headers(method, chain, initiator)
            if body is not None:
                sent["Content-Type"] = FORM
            response = await self._send(method, target, sent, headers, body)
            location = response.headers.get("location")
            if follow and response.status_code in REDIRECTS and location is not None:
                target = with_fragment(urljoin(target, location), target)
                if response.status_code not in {307, 308} and method not in SAFE:
                    method, body = "GET", None
                continue
            self.page = Page.of(target, response)
            refresh = self.page.content.refresh
            if not follow or refresh is None or refresh[0] > FOLLOWED_REFRESH:
                return self.page
            initiator, method, body = target, "GET", None
            target, chain = urljoin(target, refresh[1]), []
        raise TooManyStepsError(f"still going after {MAX_STEPS} steps: {urlsplit(target).path}")

    async def click(self, text: str) -> Page:
        """Follow the page's link that shows the text. Raises LookupError when there is none."""
        page = self._shown()
        for href, label in page.content.links:
            if text.lower() in label.lower():
                return await self.navigate(urljoin(page.url, href), initiator=page.url)
        raise LookupError(f"no link {text!r} among {page.content.links}")

    async def submit(
        self,
        form: int | Callable[[Form], bool] = 0,
        fields: Mapping[str, str] | None = None,
        *,
        button: str | None = None,
        follow: bool = True,
    ) -> Page:
        """Fill in a form of the page and submit it; returns the page that follows.

        `form`: its place among the page's forms, or a predicate; `button`: text, name or value of
        the button to press, else the first. Raises LookupError for what is not there.
        """
        page = self._shown()
        chosen = page.form(form)
        pressed = chosen.button(button)
        entries = chosen.entries(fields or {}, pressed)
        action = (pressed and pressed.action) or chosen.action or page.url
        target = urljoin(page.url, action)
        if chosen.method == "POST":
            return await self.navigate(
                target, method="POST", data=entries, initiator=page.url, follow=follow
            )
        target = urlunsplit(urlsplit(target)._replace(query=urlencode(entries)))
        return await self.navigate(target, initiator=page.url, follow=follow)

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str | None] | None = None,
        json: Any = None,
        content: bytes | None = None,
        initiator: str | None = None,
    ) -> httpx2.Response:
        """What `fetch(url, {credentials: "include", redirect: "manual"})` of a page's script sends.

        `initiator`: URL of that page; None: a page of the target's own origin.
        """
        target = self._resolve(url)
        page = target if initiator is None else initiator
        sent = {
            "Accept": "*/*",
            **fetch_metadata(target, "cors", "empty", fetch_site(page, [target])),
            **self._cookie(target, same_site=site(page) == site(target)),
        }
        if method not in SAFE or origin(page) != origin(target):
            sent["Origin"] = origin(page)
        if json is not None:
            content = dumps(json).encode()
            sent["Content-Type"] = "application/json"
        return await self._send(method, target, sent, headers, content)

    def _shown(self) -> Page:
        if self.page is None:
            raise LookupError("no page yet: navigate first")
        return self.page

    def _resolve(self, url: str) -> str:
        return urljoin(self.base_url or (self.page.url if self.page else ""), url)

    def _navigation_headers(
        self, method: str, chain: list[str], initiator: str | None
    ) -> dict[str, str]:
        target = chain[-1]
        came_from = chain if initiator is None else [initiator, *chain]
        same_site = all(site(url) == site(target) for url in came_from)
        where = "none" if initiator is None else fetch_site(initiator, chain)
        headers = {
            "Accept": ACCEPT_PAGE,
            **fetch_metadata(target, "navigate", "document", where),
            **self._cookie(target, same_site=same_site, lax_allowed=method in SAFE),
        }
        if method not in SAFE:
            policy = self.page.referrer_policy if self.page else ""
            headers["Origin"] = origin_of_post(initiator, chain, policy)
        return headers

    def _cookie(self, url: str, *, same_site: bool, lax_allowed: bool = False) -> dict[str, str]:
        value = self.cookies.header(url, same_site=same_site, lax_allowed=lax_allowed)
        return {"Cookie": value} if value else {}

    async def _send(
        self,
        method: str,
        url: str,
        usual: Mapping[str, str],
        special: Mapping[str, str | None] | None,
        body: bytes | None,
    ) -> httpx2.Response:
        address = urldefrag(url).url
        headers = httpx2.Headers(usual)
        for name, value in {**self._headers, **(special or {})}.items():
            if value is None:
                headers.pop(name, None)
            else:
                headers[name] = value
        response = await self._client.request(method, address, headers=headers, content=body)
        for field in response.headers.get_list("set-cookie"):
            self.cookies.store(address, field)
        self.visits.append(
            Visit(method, url, response.request.headers, response.status_code, response.headers)
        )
        return response
