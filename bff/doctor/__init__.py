"""`bff check`, the doctor: what stands between this configuration and a login.

It asks what the service would ask, in the same way: provider, keys, clock, client authentication,
Redis. Each finding says what to do about it. Exit code 0 only if nothing is in the way.
"""

from __future__ import annotations

import sys

from bff.configuration import registrations_of
from bff.doctor.findings import as_json, in_area, ready, show
from bff.doctor.provider import examine_provider
from bff.doctor.redis import examine_redis
from bff.doctor.service import addresses_to_register, examine_service
from bff.settings import Settings
from bff.web.service import callback_path


async def run_check(settings: Settings, *, json: bool = False) -> bool:
    """Look at everything, print the findings, and return whether a login could work."""
    found = in_area("service", examine_service(settings))
    found += in_area("redis", await examine_redis(settings))
    for registration in registrations_of(settings):
        path = callback_path(registration.name)
        findings = await examine_provider(registration, f"{settings.base_url}{path}")
        findings += addresses_to_register(settings, path)
        found += in_area(f"provider {registration.issuer}", findings)
    if json:
        sys.stdout.write(as_json(found) + "\n")
    else:
        show(found)
    return ready(found)
