"""What the dev provider is told at start: who it is, its clients, its lifetimes."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bff.demo.loopback import is_loopback_origin


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. Every address is compared exactly, byte for byte.

    Without `client_secret` the client cannot authenticate, so there are no public clients.
    """

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None

    def __post_init__(self) -> None:
        """Refuse an incomplete client. Raises ValueError."""
        if not self.client_id or not self.client_secret:
            raise ValueError("a client needs a client_id and a client_secret")
        addresses = [*self.redirect_uris, *self.post_logout_redirect_uris]
        if self.backchannel_logout_uri is not None:
            addresses.append(self.backchannel_logout_uri)
        for address in addresses:
            parts = urlsplit(address)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.fragment:
                raise ValueError(f"not an absolute http(s) URL without fragment: {address}")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds each thing lives."""

    access_token: int = 300
    refresh_token: int = 8 * 3600
    id_token: int = 300
    code: int = 60
    sso_session: int = 8 * 3600
    sign_in_page: int = 600
    logout_token: int = 120


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """The whole configuration.

    `issuer` is a bare loopback origin; `audience` is what access tokens are for (the API);
    `resources` are further ones of which tokens may be asked (RFC 8707, RFC 8693);
    `rotate` decides whether a refresh token is replaced at every use.
    """

    issuer: str
    clients: tuple[Client, ...]
    audience: str
    lifetimes: Lifetimes = Lifetimes()
    rotate: bool = True
    resources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not loopback, and clients that share an id. Raises ValueError."""
        if not is_loopback_origin(self.issuer):
            raise ValueError(f"the issuer must be a bare http loopback origin: {self.issuer}")
        if len({client.client_id for client in self.clients}) != len(self.clients):
            raise ValueError("two clients share a client_id")

    def knows(self, audience: str) -> bool:
        """Say whether tokens are issued for this one."""
        return audience == self.audience or audience in self.resources

    def client(self, client_id: str | None) -> Client | None:
        """Return the client registered under `client_id`, if any."""
        return next((one for one in self.clients if one.client_id == client_id), None)
