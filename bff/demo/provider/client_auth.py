"""Who is the client? `client_secret_basic` or `client_secret_post`, never both.

Source: RFC 6749 section 2.3.1: in the Basic form, id and secret are urlencoded first.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from bff.demo.provider.errors import InvalidClientError, OAuthError

if TYPE_CHECKING:
    from bff.demo.provider.config import Client, ProviderConfig
    from bff.demo.provider.parameters import Parameters

METHODS = ("client_secret_basic", "client_secret_post")


def authenticate_client(
    authorization: str | None, form: Parameters, config: ProviderConfig
) -> Client:
    """Return the client that proved itself. Raises OAuthError, InvalidClientError."""
    if form.repeated & {"client_id", "client_secret"}:
        raise OAuthError("invalid_request", "A client credential was sent more than once.")
    if authorization is None:
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if client_id is None or secret is None:
            raise InvalidClientError("The client has to authenticate.")
    else:
        client_id, secret = _basic(authorization)
        if form.get("client_secret") is not None:
            raise OAuthError("invalid_request", "The client authenticated in two ways.")
        if form.get("client_id") not in {None, client_id}:
            raise OAuthError("invalid_request", "The client_id is not the authenticated client's.")
    client = config.client(client_id)
    # An unknown client costs the same comparison as a known one.
    expected = "" if client is None else client.client_secret
    if not hmac.compare_digest(_digest(secret), _digest(expected)) or client is None:
        raise InvalidClientError("The client is unknown or its secret is wrong.")
    return client


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClientError("Only the Basic scheme is supported here.")
    try:
        client_id, colon, secret = b64decode(encoded, validate=True).decode().partition(":")
        pair = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError) as error:
        raise InvalidClientError("The Authorization header is malformed.") from error
    if not colon:
        raise InvalidClientError("The Authorization header is malformed.")
    return pair


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
