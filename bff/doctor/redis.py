"""Redis, reached as the service reaches it: does it answer, and will it keep what it is given?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bff.doctor.findings import Finding, Grade
from bff.errors import StoreUnavailableError
from bff.sessions.embedded import EmbeddedRedis, NoRedisServerError, data_dir
from bff.sessions.redis import Redis, connect
from bff.settings import Settings

OLDEST = (6, 2)
SUBJECT = "server"


async def examine_redis(settings: Settings) -> list[Finding]:
    """Reach Redis and read what it says of itself."""
    if settings.redis_url is not None:
        return await _look(connect(settings.redis_url.get_secret_value()), embedded=False)
    embedded = EmbeddedRedis(data_dir(settings.data_dir))
    try:
        embedded.start()
        return await _look(connect(embedded.url), embedded=True)
    except NoRedisServerError as error:
        return [Finding(Grade.FAULT, SUBJECT, str(error), "set BFF_REDIS_URL")]
    finally:
        embedded.stop()


async def _look(redis: Redis, *, embedded: bool) -> list[Finding]:
    facts: dict[str, Any] = {}
    try:
        await redis.ping()
        for section in ("server", "memory", "persistence"):
            facts |= await redis.info(section)
    except StoreUnavailableError:
        advice = "check BFF_REDIS_URL, the password and the network; docs/sessions.md has the ACL"
        return [Finding(Grade.FAULT, SUBJECT, "cannot be reached", advice)]
    finally:
        await redis.aclose()
    return judge_redis(facts, embedded=embedded)


def judge_redis(facts: Mapping[str, Any], *, embedded: bool) -> list[Finding]:
    """Judge what INFO says. Pure."""
    version = str(facts.get("redis_version", "unknown"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if len(numbers) == len(OLDEST) and numbers < OLDEST:
        advice = "use Redis 6.2 or newer, or Valkey"
        return [Finding(Grade.FAULT, SUBJECT, f"is version {version}", advice)]
    if embedded:
        text = f"is embedded, version {version}"
        return [Finding(Grade.NOTE, SUBJECT, text, "for development only: set BFF_REDIS_URL")]
    findings = [Finding(Grade.GOOD, SUBJECT, f"answers, version {version}")]
    eviction = facts.get("maxmemory_policy")
    if eviction not in (None, "noeviction"):
        text = f"maxmemory-policy is {eviction}: when memory is short, sessions vanish"
        findings.append(Finding(Grade.WARNING, "eviction", text, "set it to noeviction"))
    else:
        findings.append(Finding(Grade.GOOD, "eviction", "none: no session vanishes for room"))
    if str(facts.get("aof_enabled", "0")) == "1":
        findings.append(Finding(Grade.GOOD, "persistence", "the append-only file is on"))
    else:
        text = "the append-only file is off: a restart signs out who came since the last snapshot"
        findings.append(Finding(Grade.NOTE, "persistence", text, "set appendonly yes to keep them"))
    return findings
