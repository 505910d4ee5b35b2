"""Who is signed in at the provider, in which browser.

A session has two names: the secret that its browser's cookie holds, and the public `sid` that goes
into ID tokens and logout tokens. A user who signs in again in the same browser keeps the session
and its `sid`, with a new `auth_time`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bff.demo.provider.expiring import ExpiringMap

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class SsoSession:
    """A user signed in in one browser. `auth_time` is in seconds since the epoch."""

    cookie: str = field(repr=False)
    sid: str
    sub: str
    auth_time: int
    acr: str
    client_ids: set[str] = field(default_factory=set[str])


class SsoSessions:
    """All sessions alive."""

    def __init__(
        self, clock: Callable[[], float], random_token: Callable[[], str], lifetime: int
    ) -> None:
        self._clock = clock
        self._random_token = random_token
        self._sessions: ExpiringMap[SsoSession] = ExpiringMap(clock, lifetime)

    def all(self) -> list[SsoSession]:
        """Return every session alive."""
        return list(self._sessions.values())

    def of_cookie(self, cookie: str | None) -> SsoSession | None:
        """Return the session that this cookie value names."""
        return self._sessions.get(cookie)

    def of_sid(self, sid: str | None) -> SsoSession | None:
        """Return the session with this `sid`."""
        return next((one for one in self._sessions.values() if one.sid == sid), None)

    def of_sub(self, sub: str) -> list[SsoSession]:
        """Return all sessions of a user."""
        return [one for one in self._sessions.values() if one.sub == sub]

    def sign_in(self, previous: SsoSession | None, sub: str, acr: str) -> SsoSession:
        """Sign `sub` in under a fresh cookie, going on with `previous` if it is the same user's."""
        session = SsoSession(self._random_token(), "", sub, int(self._clock()), acr)
        if previous is not None and previous.sub == sub:
            session.sid, session.client_ids = previous.sid, previous.client_ids
            self._sessions.pop(previous.cookie)
        else:
            session.sid = self._random_token()
        self._sessions[session.cookie] = session
        return session

    def export(self) -> dict[str, tuple[float, dict[str, Any]]]:
        """Return all sessions alive as plain values, each with when it ends."""
        return {
            cookie: (ends_at, {**asdict(session), "client_ids": sorted(session.client_ids)})
            for cookie, (ends_at, session) in self._sessions.export().items()
        }

    def restore(self, exported: dict[str, tuple[float, dict[str, Any]]]) -> None:
        """Put exported sessions in the place of all there are."""
        sessions: dict[str, tuple[float, SsoSession]] = {}
        for cookie, (ends_at, values) in exported.items():
            session = SsoSession(**values)
            session.client_ids = set(values["client_ids"])
            sessions[cookie] = ends_at, session
        self._sessions.restore(sessions)

    def end(self, session: SsoSession) -> None:
        """Forget the session."""
        self._sessions.pop(session.cookie)
