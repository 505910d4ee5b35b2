"""`bff check`, the doctor: what stands between this configuration and a login.

Each finding is one line: good, a warning, or a fault with what to do about it. Exit code 0 only if
nothing is in the way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bff.configuration import registration_of
from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import KEY_TYPE, import_keys
from bff.oidc.metadata import BadMetadataError, Metadata, discovery_url, judge_metadata
from bff.oidc.provider import Provider
from bff.sessions.embedded import EmbeddedRedis, NoRedisServerError, data_dir
from bff.sessions.redis import connect
from bff.settings import Settings

LARGEST_CLOCK_DIFFERENCE = 5


class Grade(StrEnum):
    """How a finding is meant."""

    GOOD = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was found, and what to do."""

    grade: Grade
    subject: str
    text: str


async def run_check(settings: Settings) -> bool:
    """Look at everything, print the findings, and return whether a login could work."""
    findings = [
        *await check_provider(settings),
        *await check_redis(settings),
        *registration(settings),
    ]
    show(findings)
    return all(finding.grade is not Grade.FAULT for finding in findings)


async def check_provider(settings: Settings) -> list[Finding]:
    """Fetch metadata and keys as the service would."""
    provider = Provider(registration_of(settings))
    try:
        response = await provider.client.get(discovery_url(settings.issuer))
        metadata = judge_metadata(parse_object(response.content), settings.issuer)
        keys = await provider.client.get(metadata.jwks_uri)
        usable, _ = import_keys(parse_object(keys.content))
    except ProviderUnavailableError as error:
        text = (
            f"cannot be reached ({error.reason}): is {settings.issuer} right, "
            "and reachable from here?"
        )
        return [Finding(Grade.FAULT, "provider", text)]
    except BadMetadataError as error:
        text = (
            f"its discovery document cannot be used ({error.reason}): "
            "BFF_ISSUER must be the issuer to the letter"
        )
        return [Finding(Grade.FAULT, "provider", text)]
    except BadJsonError:
        text = "what it answered is not JSON: is BFF_ISSUER the issuer, not some other page?"
        return [Finding(Grade.FAULT, "provider", text)]
    finally:
        await provider.client.aclose()
    findings = [Finding(Grade.GOOD, "provider", f"discovered {metadata.issuer}")]
    findings += [key_finding(settings, [key.kty for key in usable])]
    findings += [clock_finding(response.headers.get("date"))]
    findings += feature_findings(settings, provider, metadata)
    return findings


def key_finding(settings: Settings, types: list[str]) -> Finding:
    """Say whether the provider has a key for BFF_ID_TOKEN_ALG."""
    alg = settings.id_token_alg
    if alg == "HS256" or KEY_TYPE[alg][0] in types:
        return Finding(Grade.GOOD, "keys", f"ID tokens are checked with {alg}")
    return Finding(
        Grade.FAULT,
        "keys",
        f"the provider has no key for {alg}: set BFF_ID_TOKEN_ALG to what it signs with",
    )


def clock_finding(date: str | None) -> Finding:
    """Compare our clock with the provider's, to the second that HTTP dates have."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Finding(Grade.GOOD, "clock", "the provider does not tell its time")
    difference = abs(time.time() - theirs)
    if difference > LARGEST_CLOCK_DIFFERENCE:
        return Finding(
            Grade.WARNING,
            "clock",
            f"differs from the provider's by {difference:.0f} s: set it by NTP",
        )
    return Finding(Grade.GOOD, "clock", "agrees with the provider's")


def feature_findings(settings: Settings, provider: Provider, metadata: Metadata) -> list[Finding]:
    """Say which of the provider's features will be used."""
    method = provider.client_auth_method(metadata)
    offered = method in metadata.token_endpoint_auth_methods or method == "none"
    findings = [
        Finding(
            Grade.GOOD if offered else Grade.WARNING,
            "client",
            f"{settings.client_id} authenticates by {method}"
            + ("" if offered else ", which the provider does not list"),
        )
    ]
    pairs = {
        "pushed requests": metadata.pushed_authorization_request_endpoint,
        "userinfo": metadata.userinfo_endpoint,
        "sign-out": metadata.end_session_endpoint,
        "revocation": metadata.revocation_endpoint,
    }
    for name, endpoint in pairs.items():
        text = "will be used" if endpoint else "not offered: done without"
        findings.append(Finding(Grade.GOOD, name, text))
    if "offline_access" not in settings.scopes:
        text = "offline_access is not asked for: many providers then give no refresh token"
        findings.append(Finding(Grade.WARNING, "scopes", text))
    return findings


async def check_redis(settings: Settings) -> list[Finding]:
    """Reach Redis as the service would."""
    embedded: EmbeddedRedis | None = None
    try:
        if settings.redis_url is None:
            embedded = EmbeddedRedis(data_dir(settings.data_dir))
            embedded.start()
            redis = connect(embedded.url)
        else:
            redis = connect(settings.redis_url.get_secret_value())
        try:
            await redis.ping()
            memory = await redis.info("memory")
        finally:
            await redis.aclose()
    except (StoreUnavailableError, NoRedisServerError) as error:
        text = "cannot be reached: check BFF_REDIS_URL, the password and the network"
        return [Finding(Grade.FAULT, "redis", str(error) if embedded else text)]
    finally:
        if embedded is not None:
            embedded.stop()
    findings = [
        Finding(Grade.GOOD, "redis", "answers" if embedded is None else "embedded, for development")
    ]
    eviction = memory.get("maxmemory_policy")
    if eviction not in (None, "noeviction"):
        text = f"maxmemory-policy is {eviction}: sessions may vanish; set noeviction"
        findings.append(Finding(Grade.WARNING, "redis", text))
    return findings


def registration(settings: Settings) -> list[Finding]:
    """Say which addresses the provider must know."""
    base = settings.base_url
    pairs = {
        "redirect URI": "/bff/callback",
        "post-logout URI": "/bff/logged-out",
        "back-channel logout URI": "/bff/backchannel-logout",
    }
    return [Finding(Grade.GOOD, name, f"register {base}{path}") for name, path in pairs.items()]


def show(findings: list[Finding]) -> None:
    """Print the findings as a table."""
    styles = {Grade.GOOD: "green", Grade.WARNING: "yellow", Grade.FAULT: "bold red"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(
            Text(finding.grade.value, style=styles[finding.grade]),
            Text(finding.subject, style="bold"),
            Text(finding.text),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    ready = all(finding.grade is not Grade.FAULT for finding in findings)
    console.print("\nA login can work." if ready else "\nA login cannot work yet.", style="bold")
