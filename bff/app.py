"""Wires the rooms: the only module that knows them all."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from bff import logs
from bff.environment import EnvironmentSource, unknown_variables
from bff.errors import Code, Problem
from bff.gate import Gate, Rooms
from bff.oidc.client_auth import BadClientKeyError, load_key
from bff.oidc.provider import Provider, Registration
from bff.oidc.tokens import Policy
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.http import HttpProxy
from bff.proxy.route import Route
from bff.proxy.route_config import RouteFaults, parse_routes
from bff.proxy.routes import RouteTable
from bff.proxy.websocket import WebSocketProxy
from bff.sessions.access import Access
from bff.sessions.cache import SessionCache
from bff.sessions.client_token import ClientToken
from bff.sessions.cookies import login_cookie, session_cookie
from bff.sessions.directory import Directory
from bff.sessions.embedded import EmbeddedRedis, data_dir
from bff.sessions.live import LiveSessions
from bff.sessions.logins import Logins
from bff.sessions.redis import connect
from bff.sessions.refresh import Refresher
from bff.sessions.revocation import Revoker
from bff.sessions.seal import Sealer
from bff.sessions.signals import Signals
from bff.sessions.store import Lifetimes, SessionStore
from bff.settings import ConfigurationError, Fault, Settings
from bff.web import (
    backchannel,
    events,
    forward_auth,
    health,
    initiate,
    login,
    logout,
    my_sessions,
    session,
    static,
)
from bff.web.problems import problem_answer
from bff.web.rate_limit import LoginRateLimit
from bff.web.service import Service
from bff.web.spa import SpaFolder

log = structlog.get_logger("bff.app")
NO_ROUTES = RouteTable(())
ROUTES_EXAMPLE = '{"/api": "http://api:9000"}'


def read_configuration(env_file: Path | None = None) -> tuple[Settings, list[Route]]:
    """Read settings and routes. Raises ConfigurationError with every fault of both."""
    faults: list[Fault] = []
    settings: Settings | None = None
    value: object = None
    try:
        settings = Settings.load(env_file)
        value = settings.routes
    except ConfigurationError as error:
        faults += error.faults
        if all(fault.variable != "BFF_ROUTES" for fault in faults):
            value = EnvironmentSource(Settings, os.environ, env_file or Path(".env"))().get(
                "routes"
            )
    routes: list[Route] = []
    if value:
        try:
            routes = parse_routes(value)
        except RouteFaults as error:
            faults += [Fault("BFF_ROUTES", text, ROUTES_EXAMPLE) for text in error.faults]
    if settings is not None:
        faults += _later_faults(settings)
    if faults or settings is None:
        raise ConfigurationError(faults)
    return settings, routes


def _later_faults(settings: Settings) -> list[Fault]:
    faults: list[Fault] = []
    if settings.redis_url is not None:
        try:
            connect(settings.redis_url.get_secret_value())
        except ValueError as error:
            faults.append(Fault("BFF_REDIS_URL", str(error), "redis://:password@redis:6379/0"))
    try:
        if settings.client_key_file is not None:
            load_key(settings.client_key_file)
    except BadClientKeyError as error:
        faults.append(Fault("BFF_CLIENT_KEY_FILE", str(error), "/run/secrets/client-key.pem"))
    return faults


def report(error: ConfigurationError) -> str:
    """Return the faults as text for an operator, one a block."""
    head = f"bff: the configuration has {len(error.faults)} fault(s)"
    blocks = [
        f"  {fault.variable}: {fault.problem}\n      for example {fault.variable}={fault.example}"
        for fault in error.faults
    ]
    return "\n".join([head, *blocks])


def registration_of(settings: Settings) -> Registration:
    """Return what the settings say of the provider."""
    secret = settings.client_secret
    return Registration(
        issuer=settings.issuer,
        client_id=settings.client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        client_auth=settings.client_auth,
        client_key_file=settings.client_key_file,
        scopes=settings.scopes,
        authorize_params=settings.authorize_params,
        response_mode=settings.response_mode,
        fetch_userinfo=settings.fetch_userinfo,
        policy=Policy(
            issuer=settings.issuer,
            client_id=settings.client_id,
            alg=settings.id_token_alg,
            skew=settings.clock_skew,
            logout_typ_required=settings.logout_token_typ == "required",  # noqa: S105 - a mode
        ),
    )


def create_app(
    settings: Settings | None = None,
    routes: list[Route] | None = None,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """Make the service. Without settings they are read, and faults end the process with code 2."""
    if settings is None:
        try:
            settings, routes = read_configuration()
        except ConfigurationError as error:
            sys.stderr.write(report(error) + "\n")
            raise SystemExit(2) from None
    logs.configure(settings.log_format, settings.log_level)
    for name in unknown_variables(os.environ, Settings.model_fields):
        log.warning("configuration.unknown_variable", variable=name)
    return Application(settings, routes or [], clock)


@dataclass
class Application:
    """The ASGI application: rooms are opened at start, in order, and closed in the other order."""

    settings: Settings
    routes: list[Route]
    clock: Callable[[], float] = time.time
    _gate: ASGIApp | None = field(default=None, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan, and hand everything else to the gate."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            assert self._gate is not None, "the server must run the lifespan"
            await self._gate(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                self._gate = Gate(await self._open(stack))
            except Exception as error:
                log.exception("service.start_failed")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            log.info("service.started", base_url=self.settings.base_url)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.info("service.stopping")
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self, stack: AsyncExitStack) -> Rooms:
        settings = self.settings
        redis_url, secret_values = self._embedded(stack)
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        provider = Provider(registration_of(settings))
        stack.push_async_callback(provider.aclose)
        store = SessionStore(
            redis,
            Sealer(secret_values, "session"),
            Lifetimes(settings.session_idle_timeout, settings.session_max_lifetime),
            self.clock,
        )
        signals = Signals(redis)
        stack.push_async_callback(signals.aclose)
        loop = asyncio.get_running_loop()
        store.cache = SessionCache(lambda: signals.proven, loop.time)
        signals.add(store.cache)
        live = LiveSessions(store, signals)
        stack.push_async_callback(live.aclose)
        refresher = Refresher(provider, store, redis, live, self.clock)
        stack.push_async_callback(refresher.aclose)
        revoker = Revoker(provider)
        stack.push_async_callback(revoker.aclose)
        cookie = session_cookie(
            secret_values,
            loopback_http=settings.loopback_http,
            same_site=settings.cookie_samesite,
        )
        access = Access(cookie, store, refresher, ClientToken(provider, self.clock))
        service = Service(
            settings=settings,
            provider=provider,
            redis=redis,
            store=store,
            logins=Logins(redis, Sealer(secret_values, "login")),
            access=access,
            directory=Directory(redis, store, settings.max_sessions_per_user),
            live=live,
            revoker=revoker,
            session_cookie=cookie,
            login_cookie=login_cookie(
                secret_values,
                loopback_http=settings.loopback_http,
                form_post=settings.response_mode == "form_post",
            ),
            rate_limit=LoginRateLimit(redis, settings.login_rate_limit),
            clock=self.clock,
        )
        table = RouteTable(self.routes)
        http_proxy = HttpProxy(
            access,
            live,
            own_origin=settings.origin,
            allowed_origins=settings.allowed_origins,
            own_cookies=(cookie.name, service.login_cookie.name),
        )
        stack.push_async_callback(http_proxy.aclose)
        websocket_proxy = WebSocketProxy(
            access,
            live,
            own_origin=settings.origin,
            allowed_origins=settings.allowed_origins,
            own_cookies=(cookie.name, service.login_cookie.name),
        )
        spa = settings.spa
        dev_server = spa is not None and spa.startswith(("http://", "https://"))
        provider.start()
        signals.start()
        live.start()
        return Rooms(
            service=service,
            pages=create_pages(service, table),
            routes=table,
            http_proxy=http_proxy,
            websocket_proxy=websocket_proxy,
            spa=SpaFolder(Path(spa)) if spa is not None and not dev_server else None,
            dev_server=parse_routes({"/": {"upstream": spa, "auth": "none"}})[0]
            if dev_server
            else None,
            trusted=TrustedProxies(settings.trusted_proxies),
        )

    def _embedded(self, stack: AsyncExitStack) -> tuple[str, tuple[str, ...]]:
        settings = self.settings
        if settings.redis_url is not None:
            return settings.redis_url.get_secret_value(), settings.secrets
        folder = data_dir(settings.data_dir)
        embedded = EmbeddedRedis(folder)
        embedded.start()
        stack.callback(embedded.stop)
        log.warning("store.embedded", folder=str(folder), advice="set BFF_REDIS_URL in production")
        return embedded.url, settings.secrets or (kept_secret(folder),)


def kept_secret(folder: Path) -> str:
    """Return the secret of the embedded mode, made at the first start and kept beside the data."""
    path = folder / "secret"
    if not path.exists():
        draft = folder / f"secret.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        with suppress(FileExistsError):  # another worker was first: its secret is everybody's
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="ascii").strip()


def create_pages(service: Service, routes: RouteTable = NO_ROUTES) -> FastAPI:
    """Return the pages of the contract. No API documentation is served (section 3)."""
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for room in (
        login, logout, backchannel, session, my_sessions, events, health, initiate, static,
    ):  # fmt: skip
        pages.include_router(room.router(service))
    pages.include_router(forward_auth.router(service, routes))

    async def refuse(request: Request, error: Exception) -> Any:
        problem = error if isinstance(error, Problem) else _translated(error)
        log_level = log.error if problem.status >= 500 else log.info  # noqa: PLR2004
        log_level(
            "request.refused", code=problem.code, reason=problem.reason, status=problem.status
        )
        return problem_answer(
            problem,
            request.headers,
            request_id=request.state.request_id,
            path="/",
            method="POST",
        )

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        pages.add_exception_handler(kind, refuse)
    return pages


def _translated(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        if error.status_code == 404:  # noqa: PLR2004
            return Problem(Code.NOT_FOUND, "no_such_page")
        if error.status_code == 405:  # noqa: PLR2004
            allow = (error.headers or {}).get("Allow", "GET")
            return Problem(Code.METHOD_NOT_ALLOWED, "method", headers=(("Allow", allow),))
    if isinstance(error, HTTPException | RequestValidationError):
        return Problem(Code.BAD_REQUEST, "malformed_request")
    return Problem(Code.INTERNAL, "crash")
