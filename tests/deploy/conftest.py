"""The service behind nginx and Caddy, each in front of all of it and as forward-auth.

One service and one origin serve all four; the proxies take turns on its port. Without nginx or
Caddy, see `prerequisites.py`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support import processes
from tests.support.fronts import KINDS, Places, find_programs, front
from tests.support.prerequisites import Prerequisite
from tests.support.raw_http import RawAnswer, parse, request, said
from tests.support.site import bff_serve, dev_provider, usual
from tests.support.talking_upstream import TalkingUpstream, talking_upstream
from tests.support.user_agent import UserAgent

PROGRAMS = Prerequisite(Path(__file__).parent, find_programs)
KEY = "a-key-for-the-reverse-proxies-of-the-tests"
COOKIE = "__Host-Http-bff"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    PROGRAMS.require(config, items)


@dataclass(frozen=True)
class Behind:
    """The service, which only a reverse proxy should reach."""

    places: Places
    upstream: TalkingUpstream


@dataclass(frozen=True)
class Front:
    """One reverse proxy. `asks` tells that it calls the upstream itself."""

    program: str
    asks: bool
    behind: Behind
    tls: ssl.SSLContext

    @property
    def origin(self) -> str:
        """What the browser sees."""
        return self.behind.places.origin

    @property
    def upstream(self) -> TalkingUpstream:
        """What is behind both."""
        return self.behind.upstream

    def browser(self) -> UserAgent:
        """Return a window of a browser that trusts the proxy's certificate."""
        return UserAgent(self.origin, transport=httpx2.AsyncHTTPTransport(verify=self.tls))

    async def raw(self, target: str | bytes, *fields: str, **options: Any) -> RawAnswer:
        """Send one request as it is written here."""
        sent = request(target, *fields, host=f"localhost:{self.behind.places.port}", **options)
        return parse(await said(self.origin, sent, tls=self.tls))


def of(browser: UserAgent, site: str = "same-origin") -> tuple[str, str]:
    """Return the fields that tell whose request it is, and which site's page makes it."""
    return f"Cookie: {COOKIE}={browser.cookies.get(COOKIE)}", f"Sec-Fetch-Site: {site}"


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """The service with its provider, and an upstream for it and for the proxies."""
    PROGRAMS.part()
    folder = tmp_path_factory.mktemp("behind")
    port, front_port = processes.free_port(), processes.free_port()
    origin = f"https://localhost:{front_port}"
    with ExitStack() as stack:
        redis_url = stack.enter_context(processes.redis_server(folder))
        upstream = stack.enter_context(talking_upstream())
        provider = stack.enter_context(
            dev_provider(
                folder, port, "--redirect-uri", f"{origin}/bff/callback",
                "--post-logout-redirect-uri", f"{origin}/bff/logged-out",
            )
        )  # fmt: skip
        url = f"http://127.0.0.1:{upstream.server_port}"
        routes = {
            "/api": url,
            "/open": {"upstream": url, "auth": "none"},
            "/admin": {"upstream": url, "claims": {"roles": "admin"}},
            "/gold": {"upstream": url, "acr": "gold"},
        }
        env = {
            **usual(port, redis_url),
            **provider.settings(),
            "BFF_BASE_URL": origin,
            "BFF_ROUTES": json.dumps(routes),
            "BFF_TRUSTED_PROXIES": '["127.0.0.1/32"]',
            "BFF_FORWARD_AUTH_KEY": KEY,
        }
        stack.enter_context(bff_serve(folder, port, env))
        yield Behind(Places(front_port, port, upstream.server_port, KEY), upstream)


@pytest.fixture(scope="session", params=KINDS, ids=" ".join)
def proxy(
    request: pytest.FixtureRequest, behind: Behind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """Each of the reverse proxies in turn."""
    program, kind = request.param
    folder = tmp_path_factory.mktemp(program)
    with front(program, kind, behind.places, folder) as tls:
        yield Front(program, kind == "forward-auth", behind, tls)
