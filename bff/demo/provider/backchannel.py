"""Signs users out: one session or all of them, here and at the clients' back channels.

Logout tokens go to all clients at once; the user waits for the slowest, at most three seconds.
A client that cannot be reached is counted and left: the demo shows what happens, it does not retry.

Source: OpenID Connect Back-Channel Logout 1.0 sections 2.3 to 2.8. Refresh tokens granted by
`offline_access` outlive the sign-out of one session (section 2.7); signing out everywhere revokes
them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2

from bff.demo.provider.tokens import logout_token

if TYPE_CHECKING:
    from bff.demo.provider.config import Client
    from bff.demo.provider.sso import SsoSession
    from bff.demo.provider.state import ProviderState

TIMEOUT = 3.0


async def sign_out_session(state: ProviderState, session: SsoSession) -> None:
    """End one session and tell every client that it signed in to, the one that asked as well."""
    state.sessions.end(session)
    state.counters["sessions_ended"] += 1
    clients = [one for one in state.config.clients if one.client_id in session.client_ids]
    await _notify(state, clients, session.sub, session.sid)


async def sign_out_everywhere(state: ProviderState, sub: str) -> None:
    """End all sessions of a user, revoke all grants, and tell every client by `sub` alone."""
    for session in state.sessions.of_sub(sub):
        state.sessions.end(session)
        state.counters["sessions_ended"] += 1
    state.grants.revoke_sub(sub)
    await _notify(state, state.config.clients, sub, None)


async def _notify(
    state: ProviderState, clients: tuple[Client, ...] | list[Client], sub: str, sid: str | None
) -> None:
    reachable = [
        (one.client_id, one.backchannel_logout_uri) for one in clients if one.backchannel_logout_uri
    ]
    if not reachable:
        return
    async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
        delivered = await asyncio.gather(
            *(
                _post(http, uri, logout_token(state, client_id, sub, sid))
                for client_id, uri in reachable
            )
        )
    state.counters["logout_tokens.delivered"] += sum(delivered)
    state.counters["logout_tokens.failed"] += len(delivered) - sum(delivered)


async def _post(http: httpx2.AsyncClient, uri: str, token: str) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await http.post(uri, data={"logout_token": token})
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError):
        return False
    return answer.status_code in {200, 204}
