"""What one provider and we agreed on: the settings that concern it, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bff.oidc.mtls import ClientCertificate
from bff.oidc.tokens import Policy
from bff.provider_values import PlainOAuth2


@dataclass(frozen=True, slots=True)
class Registration:
    """What the provider and we agreed on: the settings that concern one provider.

    `resources` are those for which routes want their own tokens (RFC 8707). With `dpop` tokens are
    bound to a key of ours (RFC 9449).
    """

    issuer: str
    client_id: str
    client_secret: str | None
    client_auth: str | None
    client_key_file: Path | None
    scopes: tuple[str, ...]
    authorize_params: Mapping[str, str]
    response_mode: str
    fetch_userinfo: bool | None
    policy: Policy
    certificate: ClientCertificate | None = None
    raw_basic_auth: bool = False
    request_object: bool | None = None
    encryption_required: bool = False
    name: str = "default"
    label: str = ""
    resources: tuple[str, ...] = ()
    dpop: bool = False
    end_session_endpoint: str | None = None
    logout_params: Mapping[str, str] | None = None
    oauth2_without_id_token: PlainOAuth2 | None = None
