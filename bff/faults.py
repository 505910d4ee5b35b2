"""What is wrong with the configuration, put so that an operator can mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bff.environment import PREFIX

EXAMPLES = {
    "base_url": "https://app.example.com",
    "issuer": "https://login.example.com/",
    "tenants": '["11111111-2222-3333-4444-555555555555"]',
    "oauth2_without_id_token": (
        '{"authorization_endpoint": "https://github.com/login/oauth/authorize",'
        ' "token_endpoint": "https://github.com/login/oauth/access_token",'
        ' "userinfo_endpoint": "https://api.github.com/user", "subject": "id"}'
    ),
    "client_id": "my-spa",
    "client_secret": "the secret that the provider gave you",
    "client_auth": "client_secret_basic",
    "client_key_file": "/run/secrets/client-key.pem",
    "client_cert_file": "/run/secrets/client-cert.pem",
    "client_cert_key_file": "/run/secrets/client-cert-key.pem",
    "basic_auth_encoding": "rfc6749",
    "scopes": "openid profile email",
    "authorize_params": '{"audience": "https://api.example.com"}',
    "dpop": "true",
    "required_claims": '{"hd": "example.com"}',
    "end_session_endpoint": "https://login.example.com/logout",
    "logout_params": '{"client_id": "{client_id}", "returnTo": "{post_logout_redirect_uri}"}',
    "request_object": "true",
    "response_mode": "query",
    "id_token_alg": "RS256",
    "id_token_encryption": "if_present",
    "fetch_userinfo": "true",
    "provider_label": "Example Login",
    "providers": '{"google": {"issuer": "https://accounts.google.com", "client_id": "..."}}',
    "secret": "what `bff secret` prints",
    "redis_url": "redis://:password@redis:6379/0",
    "routes": '{"/api": "http://api:9000"}',
    "spa": "/srv/spa",
    "spa_csp": '{"connect-src": ["https://api.example.com"]}',
    "session_idle_timeout": "1800",
    "session_max_lifetime": "43200",
    "max_sessions_per_user": "5",
    "cookie_samesite": "strict",
    "allowed_origins": '["https://www.example.com"]',
    "trusted_proxies": '["10.0.0.0/8"]',
    "websocket_max_message": "16777216",
    "websocket_idle_timeout": "60",
    "clock_skew": "30",
    "login_rate_limit": "60/minute",
    "logout_token_typ": "if_present",
    "frontchannel_logout": "false",
    "initiate_login": "false",
    "forward_auth_key": "a long random value",
    "log_format": "json",
    "log_level": "info",
    "data_dir": "/var/lib/bff",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the configuration: variable, what, and a value that would do."""

    variable: str
    problem: str
    example: str


class ConfigurationError(Exception):
    """The configuration cannot be used; `faults` holds everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(", ".join(fault.variable for fault in faults))
        self.faults = faults


def fault_of(item: Mapping[str, Any]) -> Fault:
    """Return the fault in one of pydantic's errors."""
    name = str(item["loc"][0]) if item["loc"] else ""
    problem = "is required" if item["type"] == "missing" else str(item["msg"])
    problem = problem.removeprefix("Value error, ")
    return Fault(PREFIX + name.upper(), problem, EXAMPLES.get(name, ""))
