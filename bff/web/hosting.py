"""Which application is at `/`: from a folder, from its dev server, or none (contract, BFF_SPA).

What weakens the defence of its pages is logged at each start.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import structlog

from bff.proxy.route import Route
from bff.proxy.route_config import parse_routes
from bff.sessions.parties import Parties
from bff.settings import Settings
from bff.spa.csp import frightening
from bff.values import is_loopback, origin_of
from bff.web.spa import SpaFolder

log = structlog.get_logger("bff.spa")


def spa_folder(settings: Settings, parties: Parties) -> SpaFolder | None:
    """Return what serves the built application; None where BFF_SPA is no folder."""
    if settings.spa is None or _is_url(settings.spa):
        return None
    for addition in frightening(settings.spa_csp):
        log.warning(
            "spa.csp_weakened",
            addition=addition,
            advice="admit a page's own scripts and styles by BFF_CSP_NONCE instead",
        )

    def sign_out() -> list[str]:
        known = [party.provider.loaded for party in parties]
        return [
            origin_of(urlsplit(metadata.end_session_endpoint))
            for metadata in known
            if metadata is not None and metadata.end_session_endpoint is not None
        ]

    return SpaFolder(Path(settings.spa), settings.spa_csp, sign_out)


def dev_server(settings: Settings) -> Route | None:
    """Return the route to the application's dev server; None where BFF_SPA is no URL."""
    if settings.spa is None or not _is_url(settings.spa):
        return None
    if not is_loopback(urlsplit(settings.base_url).hostname):
        log.warning(
            "spa.dev_server",
            url=settings.spa,
            advice="a dev server shows sources to everybody: set BFF_SPA to the folder of a build",
        )
    return parse_routes({"/": {"upstream": settings.spa, "auth": "none"}})[0]


def _is_url(spa: str) -> bool:
    return spa.startswith(("http://", "https://"))
