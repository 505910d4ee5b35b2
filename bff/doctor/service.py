"""The service itself: how browsers reach it, and what the provider must be told of it. Pure."""

from __future__ import annotations

from bff.doctor.findings import Finding, Grade
from bff.sessions.cookies import login_cookie, session_cookie
from bff.settings import Settings

ANY_SECRET = ("only the names of cookies are asked for",)


def examine_service(settings: Settings) -> list[Finding]:
    """Say how browsers will see the service."""
    plain = settings.loopback_http
    session = session_cookie(
        ANY_SECRET, loopback_http=plain, same_site=settings.cookie_samesite
    ).name
    login = login_cookie(ANY_SECRET, loopback_http=plain, form_post=False).name
    findings = [
        Finding(
            Grade.NOTE if plain else Grade.GOOD,
            "base URL",
            settings.base_url + (": plain http, for this machine alone" if plain else ""),
        ),
        Finding(
            Grade.GOOD,
            "cookies",
            f"{session} (SameSite={settings.cookie_samesite.capitalize()}) and {login}",
        ),
    ]
    if not plain and not settings.trusted_proxies:
        text = "BFF_TRUSTED_PROXIES is empty: behind a proxy, all users seem to have its address"
        advice = "list the networks of the proxy that ends TLS; logins are limited by address"
        findings.append(Finding(Grade.WARNING, "addresses", text, advice))
    return findings


def addresses_to_register(settings: Settings, callback: str) -> list[Finding]:
    """Say which addresses a provider must know; `callback` is the path of its redirect URI."""
    base = settings.base_url
    wanted = [
        ("redirect URI", callback),
        ("post-logout URI", "/bff/logged-out"),
        ("back-channel logout URI", "/bff/backchannel-logout"),
    ]
    if settings.frontchannel_logout:
        wanted.append(("front-channel logout URI", "/bff/frontchannel-logout"))
    if settings.initiate_login:
        wanted.append(("initiate-login URI", "/bff/initiate-login"))
    if settings.client_key_file is not None:
        wanted.append(("JWKS URI", "/bff/jwks.json"))
    return [Finding(Grade.NOTE, name, f"register {base}{path}") for name, path in wanted]
