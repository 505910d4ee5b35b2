"""The whole configuration, settings and routes, read and judged in one go.

What `settings` and `proxy.route_config` find is reported together, so that an operator mends
everything at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from bff.environment import EnvironmentSource
from bff.faults import EXAMPLES, ConfigurationError, Fault
from bff.oidc.client_keys import BadClientKeyError, ClientKeys, load_keys
from bff.oidc.mtls import BadCertificateError, ClientCertificate
from bff.oidc.provider import Registration
from bff.oidc.tokens import Policy
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
    return faults + _key_faults(settings) + _certificate_faults(settings)


def _key_faults(settings: Settings) -> list[Fault]:
    keys = ClientKeys()
    try:
        if settings.client_key_file is not None:
            keys = load_keys(settings.client_key_file)
    except BadClientKeyError as error:
        return [Fault("BFF_CLIENT_KEY_FILE", str(error), EXAMPLES["client_key_file"])]
    faults: list[Fault] = []
    others = (settings.client_secret, settings.client_cert_file, settings.client_auth)
    alone = settings.client_key_file is not None and others == (None, None, None)
    if keys.signer is None and (settings.client_auth == "private_key_jwt" or alone):
        problem = "holds no key for signatures, and nothing else proves who we are"
        faults.append(Fault("BFF_CLIENT_KEY_FILE", problem, EXAMPLES["client_key_file"]))
    if keys.signer is None and settings.request_object:
        problem = "needs a key for signatures in BFF_CLIENT_KEY_FILE"
        faults.append(Fault("BFF_REQUEST_OBJECT", problem, "false"))
    if not keys.decryption and settings.id_token_encryption == "required":  # noqa: S105 - a mode
        problem = "required needs a key for encryption in BFF_CLIENT_KEY_FILE"
        faults.append(Fault("BFF_ID_TOKEN_ENCRYPTION", problem, "if_present"))
    return faults


def _certificate_faults(settings: Settings) -> list[Fault]:
    certificate = certificate_of(settings)
    if certificate is None:
        return []
    try:
        certificate.context()
        certificate.jwk()
    except BadCertificateError as error:
        return [Fault("BFF_CLIENT_CERT_FILE", str(error), EXAMPLES["client_cert_file"])]
    return []


def report(error: ConfigurationError) -> str:
    """Return the faults as text for an operator, one a block."""
    head = f"bff: the configuration has {len(error.faults)} fault(s)"
    blocks = [
        f"  {fault.variable}: {fault.problem}\n      for example {fault.variable}={fault.example}"
        for fault in error.faults
    ]
    return "\n".join([head, *blocks])


def certificate_of(settings: Settings) -> ClientCertificate | None:
    """Return our TLS certificate, where there is one."""
    if settings.client_cert_file is None:
        return None
    return ClientCertificate(settings.client_cert_file, settings.client_cert_key_file)


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
        certificate=certificate_of(settings),
        raw_basic_auth=settings.basic_auth_encoding == "raw",
        request_object=settings.request_object,
        encryption_required=settings.id_token_encryption == "required",  # noqa: S105 - a mode
    )
