"""Wires the rooms: the only module that knows them all."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from bff import logs
from bff.configuration import read_configuration, registrations_of, report
from bff.environment import unknown_variables
from bff.exchange import Shortcut
from bff.express import Express
from bff.faults import ConfigurationError
from bff.gate import Gate, Rooms
from bff.oidc.provider import Provider
from bff.oidc.registration import Registration
from bff.oidc.token_target import resources
from bff.pages import Pages
from bff.proxy.forwarded import TrustedProxies
from bff.proxy.http import HttpProxy
from bff.proxy.route import Route
from bff.proxy.routes import RouteTable
from bff.proxy.upstreams import Upstreams
from bff.proxy.websocket import WebSocketProxy
from bff.sessions.access import Access
from bff.sessions.cache import MAX_AGE, MAX_AGE_IN_CLUSTER, SessionCache
from bff.sessions.client_token import ClientToken
from bff.sessions.cookies import login_cookie, session_cookie
from bff.sessions.directory import Directory
from bff.sessions.embedded import EmbeddedRedis, data_dir, kept_secret
from bff.sessions.live import LiveSessions
from bff.sessions.logins import Logins
from bff.sessions.parties import Parties, Party
from bff.sessions.redis import Redis, connect
from bff.sessions.refresh import Refresher
from bff.sessions.revocation import Revoker
from bff.sessions.seal import Sealer
from bff.sessions.signals import Signals
from bff.sessions.store import Lifetimes, SessionStore
from bff.sessions.upstream_tokens import UpstreamTokens
from bff.settings import Settings
from bff.web.hosting import dev_server, spa_folder
from bff.web.rate_limit import LoginRateLimit
from bff.web.service import Service

# Of new objects that are tracked, when the youngest are looked through. The usual 700 would be
# reached by what so many requests at once hold for a moment, again and again.
COLLECT_AFTER = 5_000

log = structlog.get_logger("bff.app")


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
    express: Shortcut | None = field(default=None, init=False)
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
                rooms, proxy = await self._open(stack)
                self._gate = gate = Gate(rooms)
                self.express = Express(gate, proxy)
            except Exception as error:
                log.exception("service.start_failed")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            stack.callback(_collect_less())
            log.info("service.started", base_url=self.settings.base_url)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.info("service.stopping")
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self, stack: AsyncExitStack) -> tuple[Rooms, HttpProxy]:
        settings = self.settings
        redis_url, secret_values = self._embedded(stack)
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        store = SessionStore(
            redis,
            Sealer(secret_values, "session"),
            Lifetimes(settings.session_idle_timeout, settings.session_max_lifetime),
            self.clock,
        )
        signals = Signals(redis)
        stack.push_async_callback(signals.aclose)
        loop = asyncio.get_running_loop()
        max_age = MAX_AGE_IN_CLUSTER if redis.clustered else MAX_AGE
        store.cache = SessionCache(lambda: signals.proven, loop.time, max_age=max_age)
        signals.add(store.cache)
        live = LiveSessions(store, signals)
        stack.push_async_callback(live.aclose)
        parties = Parties(
            {
                registration.name: self._party(stack, registration, store, redis, live)
                for registration in registrations_of(settings)
            }
        )
        cookie = session_cookie(
            secret_values,
            loopback_http=settings.loopback_http,
            same_site=settings.cookie_samesite,
        )
        client_token = ClientToken(parties.first.provider, self.clock)
        access = Access(cookie, store, parties, client_token)
        stack.push_async_callback(access.aclose)
        service = Service(
            settings=settings,
            parties=parties,
            redis=redis,
            store=store,
            logins=Logins(redis, Sealer(secret_values, "login")),
            access=access,
            directory=Directory(redis, store, settings.max_sessions_per_user),
            live=live,
            session_cookie=cookie,
            login_cookie=login_cookie(
                secret_values,
                loopback_http=settings.loopback_http,
                form_post=any(
                    party.provider.registration.response_mode.startswith("form_post")
                    for party in parties
                ),
            ),
            rate_limit=LoginRateLimit(redis, settings.login_rate_limit),
            clock=self.clock,
        )
        table = RouteTable(self.routes)
        certificate = parties.first.provider.registration.certificate
        upstreams = Upstreams(
            with_certificate=None if certificate is None else certificate.context()
        )
        stack.push_async_callback(upstreams.aclose)
        http_proxy = HttpProxy(
            access,
            live,
            upstreams,
            own_origin=settings.origin,
            allowed_origins=settings.allowed_origins,
            own_cookies=(cookie.name, service.login_cookie.name),
        )
        websocket_proxy = WebSocketProxy(
            access,
            live,
            upstreams,
            own_origin=settings.origin,
            allowed_origins=settings.allowed_origins,
            own_cookies=(cookie.name, service.login_cookie.name),
            max_message=settings.websocket_max_message,
            silence=settings.websocket_idle_timeout,
        )
        for party in parties:
            party.provider.start()
        signals.start()
        live.start()
        rooms = Rooms(
            service=service,
            pages=Pages(service, table),
            routes=table,
            http_proxy=http_proxy,
            websocket_proxy=websocket_proxy,
            spa=spa_folder(settings, parties),
            dev_server=dev_server(settings),
            trusted=TrustedProxies(settings.trusted_proxies),
        )
        return rooms, http_proxy

    def _party(
        self,
        stack: AsyncExitStack,
        registration: Registration,
        store: SessionStore,
        redis: Redis,
        live: LiveSessions,
    ) -> Party:
        provider = Provider(replace(registration, resources=self._resources()))
        refresher = Refresher(provider, store, redis, live, self.clock)
        upstream_tokens = UpstreamTokens(provider, store, refresher, self.clock)
        party = Party(provider, refresher, upstream_tokens, Revoker(provider))
        for room in (provider, refresher, party.revoker, upstream_tokens):
            stack.push_async_callback(room.aclose)
        return party

    def _resources(self) -> tuple[str, ...]:
        """Return for what routes ask tokens at the refresh, so that the login grants them."""
        targets = (route.token for route in self.routes)
        return resources(target for target in targets if target is not None)

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


def _collect_less() -> Callable[[], None]:
    """Keep the garbage collector away from what stays; return how to have all as before.

    What was loaded and opened so far lives as long as the process: some 100,000 objects, which
    would hold all requests up for tens of milliseconds whenever the oldest are looked through.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *before[1:])

    def restore() -> None:
        gc.set_threshold(*before)
        gc.unfreeze()

    return restore
