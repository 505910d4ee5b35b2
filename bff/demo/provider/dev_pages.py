"""The start page for people, and the same buttons and figures for test programs.

`GET /` shows who is signed in. `POST /dev/logout` with `sub` signs a user out everywhere, with
`sid` ends one session; `POST /dev/rotate-keys` signs with a new key from then on; `GET /dev/state`
counts what has happened. A form of the start page returns there; a program gets JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from bff.demo.provider.backchannel import sign_out_everywhere, sign_out_session
from bff.demo.provider.errors import OAuthError
from bff.demo.provider.forms import check_own_origin
from bff.demo.provider.pages import NO_STORE, page, redirect
from bff.demo.provider.parameters import FORM, read_form, read_query
from bff.demo.provider.users import USERS, User, find_user

if TYPE_CHECKING:
    from starlette.requests import Request

    from bff.demo.provider.sso import SsoSession
    from bff.demo.provider.state import ProviderState


@dataclass(frozen=True, slots=True)
class _Row:
    user: User
    sessions: list[SsoSession]
    since: str


async def start(state: ProviderState, _request: Request) -> Response:
    """Show who is signed in, with the buttons."""
    rows: list[_Row] = []
    for user in USERS:
        sessions = state.sessions.of_sub(user.sub)
        latest = max((session.auth_time for session in sessions), default=0)
        rows.append(_Row(user, sessions, ago(state.now() - latest) if sessions else ""))
    return page(
        "start",
        issuer=state.config.issuer,
        rows=rows,
        clients=state.config.clients,
        kids=state.keys.kids(),
        counters=sorted(state.counters.items()),
    )


async def dev_logout(state: ProviderState, request: Request) -> Response:
    """Sign a user out everywhere, or end one session. Raises OAuthError."""
    check_own_origin(state, request)
    is_form = request.headers.get("content-type", "").startswith(FORM)
    parameters = await (read_form(request) if is_form else read_query(request))
    sub, sid = parameters.get("sub"), parameters.get("sid")
    if (sub is None) == (sid is None):
        raise OAuthError("invalid_request", "Either sub or sid is needed.")
    if sub is not None:
        if find_user(sub) is None:
            raise OAuthError("invalid_request", "There is no such user.")
        await sign_out_everywhere(state, sub)
    else:
        session = state.sessions.of_sid(sid)
        if session is None:
            raise OAuthError("invalid_request", "There is no such session.")
        await sign_out_session(state, session)
    return _done(state, request)


async def rotate_keys(state: ProviderState, request: Request) -> Response:
    """Sign with a new key from now on."""
    check_own_origin(state, request)
    state.keys.rotate()
    state.counters["key_rotations"] += 1
    return _done(state, request)


async def dev_state(state: ProviderState, _request: Request) -> Response:
    """Answer with the counters and the open sessions; no secret among them."""
    return JSONResponse(_figures(state), headers=NO_STORE)


def _done(state: ProviderState, request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return redirect("/")
    return JSONResponse(_figures(state), headers=NO_STORE)


def _figures(state: ProviderState) -> dict[str, object]:
    sessions = [
        {"sub": one.sub, "sid": one.sid, "clients": sorted(one.client_ids)}
        for one in state.sessions.all()
    ]
    return {
        "counters": dict(sorted(state.counters.items())),
        "sessions": sessions,
        "keys": state.keys.kids(),
    }


def ago(seconds: int) -> str:
    """Say how long ago something was, in words."""
    if seconds < 60:
        return "just now"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} minute{'s' if minutes > 1 else ''} ago"
    hours = minutes // 60
    return f"{hours} hour{'s' if hours > 1 else ''} ago"
