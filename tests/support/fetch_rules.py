"""What browsers make of URLs: origins, sites, secure contexts and `Sec-Fetch-*`; pure.

Source: RFC 6454, HTML Living Standard (sites), Secure Contexts section 3.1, Fetch Metadata.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urldefrag, urlsplit


def is_under(host: str, domain: str) -> bool:
    """Whether the host is a name below the domain (section 5.1.3); never true of addresses."""
    return host.endswith("." + domain) and not is_address(host)


def is_address(host: str) -> bool:
    """Whether the host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_trustworthy(url: str) -> bool:
    """Whether browsers treat the URL as secure: https, or loopback (Secure Contexts, 3.1)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def site(url: str) -> tuple[str, str]:
    """Scheme and registrable domain: the last two labels, or the whole address or single name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme, host if is_address(host) else ".".join(host.split(".")[-2:])


def origin(url: str) -> str:
    """Scheme and authority as a browser serialises them, default ports left out (RFC 6454)."""
    parts = urlsplit(url)
    port = "" if parts.port in {None, {"http": 80, "https": 443}.get(parts.scheme)} else parts.port
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def fetch_metadata(url: str, mode: str, destination: str, where: str) -> dict[str, str]:
    """The `Sec-Fetch-*` fields; none to a URL that is no secure context (Fetch Metadata, 2)."""
    if not is_trustworthy(url):
        return {}
    user = {"Sec-Fetch-User": "?1"} if mode == "navigate" else {}
    return {"Sec-Fetch-Site": where, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination, **user}


def fetch_site(initiator: str, chain: list[str]) -> str:
    """What `Sec-Fetch-Site` says of a chain of URLs that this page began (Fetch Metadata, 2.4)."""
    if all(origin(url) == origin(initiator) for url in chain):
        return "same-origin"
    return "same-site" if all(site(url) == site(initiator) for url in chain) else "cross-site"


def origin_of_post(initiator: str | None, chain: list[str], referrer_policy: str) -> str:
    """The `Origin` of a navigation that is no GET (Fetch, "append a request Origin header").

    A page that sends no referrer has the origin `null` even to itself.
    """
    silent = "no-referrer" in [value.strip() for value in referrer_policy.split(",")]
    if initiator is None or silent or len({origin(url) for url in chain}) > 1:
        return "null"
    return origin(initiator)


def with_fragment(target: str, before: str) -> str:
    """A redirect's target, with the fragment of the URL before it unless it has its own."""
    fragment = urldefrag(before).fragment
    return target if "#" in target or not fragment else f"{target}#{fragment}"
