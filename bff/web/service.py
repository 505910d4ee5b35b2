"""What the pages share: the rooms below, wired once by `bff.app`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

import structlog
from starlette.requests import ClientDisconnect, Request

from bff import csrf
from bff.errors import Code, Problem
from bff.oidc.provider import Provider
from bff.sessions.access import Access
from bff.sessions.cookies import Cookie
from bff.sessions.directory import Directory
from bff.sessions.live import LiveSessions
from bff.sessions.logins import Logins
from bff.sessions.parties import Parties
from bff.sessions.redis import Redis
from bff.sessions.session import FIRST_PROVIDER
from bff.sessions.store import SessionStore
from bff.settings import Settings
from bff.web.rate_limit import LoginRateLimit

T = TypeVar("T")
CALLBACK = "/bff/callback"
MAX_FORM = 65_536
MAX_FIELDS = 64
FORM_TYPE = "application/x-www-form-urlencoded"

log = structlog.get_logger("bff.web")


@dataclass(frozen=True, slots=True)
class Service:
    """The rooms that the pages use."""

    settings: Settings
    parties: Parties
    redis: Redis
    store: SessionStore
    logins: Logins
    access: Access
    directory: Directory
    live: LiveSessions
    session_cookie: Cookie
    login_cookie: Cookie
    rate_limit: LoginRateLimit
    clock: Callable[[], float] = time.time
    randomness: Callable[[int], bytes] = field(default=os.urandom)

    def redirect_uri(self, provider: Provider) -> str:
        """Return the redirect URI to register at a provider: each has its own (RFC 9700, 4.4.2)."""
        return f"{self.settings.base_url}{callback_path(provider.registration.name)}"

    @property
    def post_logout_redirect_uri(self) -> str:
        """The post-logout redirect URI to register at the provider."""
        return f"{self.settings.base_url}/bff/logged-out"

    def check_csrf(self, request: Request) -> None:
        """Refuse a request that was not made by our own page."""
        if not csrf.check(
            request.method,
            request.headers.raw,
            own_origin=self.settings.origin,
            allowed=self.settings.allowed_origins,
        ):
            raise Problem(Code.CSRF, "not_own_request")


def callback_path(name: str) -> str:
    """Return the path of the redirect URI of the provider of this name."""
    return CALLBACK if name == FIRST_PROVIDER else f"{CALLBACK}/{name}"


def client_of(request: Request) -> str:
    """Return the address of the client, as the gate has found it."""
    address: str = request.scope["state"]["client"]
    return address


def query_pairs(request: Request) -> list[tuple[str, str]]:
    """Return the query's parameters in order. Raises bad_request for what is no query."""
    return _pairs(request.scope["query_string"])


async def form_pairs(request: Request, most: int = MAX_FORM) -> list[tuple[str, str]]:
    """Return a form body's fields in order; at most `most` bytes of it are read.

    Raises bad_request for another content type or no form, too_large for more than that.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise Problem(Code.BAD_REQUEST, "content_type", detail=f"The body must be {FORM_TYPE}.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise Problem(Code.TOO_LARGE, "form_too_large")
    except ClientDisconnect:
        raise Problem(Code.BAD_REQUEST, "client_left") from None
    return _pairs(bytes(body))


def once(pairs: list[tuple[str, str]], *names: str) -> dict[str, str]:
    """Return the named parameters. Raises bad_request for one that is given twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in names:
            if name in found:
                raise Problem(
                    Code.BAD_REQUEST, "repeated_parameter", detail=f"{name} may be given only once."
                )
            found[name] = value
    return found


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        text = data.decode("ascii")
        if "%" not in text and "+" not in text and text.count("&") < MAX_FIELDS:
            # As parse_qsl reads it, which looks at each part for what is not there.
            parts = [part.partition("=") for part in text.split("&") if part]
            return [(name, value) for name, _, value in parts]
        return parse_qsl(
            text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise Problem(Code.BAD_REQUEST, "malformed_parameters") from None
