"""The whole configuration, settings and routes, read and judged in one go.

What `settings` and `proxy.route_config` find is reported together, so that an operator mends
everything at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from bff.client_faults import certificate_of, client_faults
from bff.client_settings import ClientSettings
from bff.environment import PREFIX, EnvironmentSource
from bff.faults import EXAMPLES, ConfigurationError, Fault
from bff.oidc.registration import Registration
from bff.oidc.tokens import Policy
from bff.provider_settings import FIRST
from bff.proxy.route import Route
from bff.proxy.route_config import RouteFaults, parse_routes
from bff.sessions.redis import connect
from bff.settings import Settings

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
        if settings.client_cert_file is None:
            faults += [
                Fault("BFF_ROUTES", f"{route.name}: client_certificate needs BFF_CLIENT_CERT_FILE",
                      ROUTES_EXAMPLE)
                for route in routes
                if route.upstream.with_certificate
            ]  # fmt: skip
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
    faults += client_faults(settings)
    for name, client in settings.providers.items():
        faults += client_faults(client, f"{PREFIX}PROVIDERS__{name.upper()}__")
    return faults + _shared_issuers(settings)


def _shared_issuers(settings: Settings) -> list[Fault]:
    """Return a fault where users of a provider without ID tokens could be taken for another's.

    People are known by issuer and subject, and there the issuer is a name of our own choice.
    """
    clients = (settings, *settings.providers.values())
    plain = {client.issuer for client in clients if client.oauth2_without_id_token is not None}
    every = [client.issuer for client in clients]
    return [
        Fault(
            "BFF_PROVIDERS",
            f"{issuer} must be the issuer of one provider only",
            EXAMPLES["providers"],
        )
        for issuer in sorted(plain)
        if every.count(issuer) > 1
    ]


def report(error: ConfigurationError) -> str:
    """Return the faults as text for an operator, one a block."""
    head = f"bff: the configuration has {len(error.faults)} fault(s)"
    blocks = [
        f"  {fault.variable}: {fault.problem}\n      for example {fault.variable}={fault.example}"
        for fault in error.faults
    ]
    return "\n".join([head, *blocks])


def registrations_of(settings: Settings) -> list[Registration]:
    """Return what the settings say of each provider, the first one first."""
    further = [
        _registration(settings, client, name, client.label)
        for name, client in settings.providers.items()
    ]
    return [registration_of(settings), *further]


def registration_of(settings: Settings) -> Registration:
    """Return what the settings say of the first provider."""
    return _registration(settings, settings, FIRST, settings.provider_label)


def _registration(every: Settings, settings: ClientSettings, name: str, label: str) -> Registration:
    secret = settings.client_secret
    return Registration(
        name=name,
        label=label or urlsplit(settings.issuer).hostname or name,
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
            skew=every.clock_skew,
            logout_typ_required=every.logout_token_typ == "required",  # noqa: S105 - a mode
            tenants=settings.tenants,
            required_claims=settings.required_claims,
        ),
        certificate=certificate_of(settings),
        raw_basic_auth=settings.basic_auth_encoding == "raw",
        request_object=settings.request_object,
        dpop=settings.dpop,
        encryption_required=settings.id_token_encryption == "required",  # noqa: S105 - a mode
        end_session_endpoint=settings.end_session_endpoint,
        logout_params=settings.logout_params,
        oauth2_without_id_token=settings.oauth2_without_id_token,
    )
