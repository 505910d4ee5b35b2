"""A scripted provider that signs users in without pages, and mints tokens as a strict one does.

Every refresh token is good once; one that comes again revokes its family. What refreshes are
answered can be delayed, refused, or changed member by member, and everything is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support import jose
from tests.support.history import Page
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.support.user_agent import UserAgent

CLIENT_ID = "fleet"
CLIENT_SECRET = "a secret of the fleet's, long enough"
NUMBERS = count(1)


@dataclass
class Family:
    """All tokens of one sign-in; `jkt` is the key that they were asked to be bound to."""

    sub: str
    sid: str
    nonce: str
    jkt: str | None = None
    revoked: bool = False
    spent: set[str] = field(default_factory=set[str])


@dataclass
class Minting:
    """What the provider does. `delay`: seconds of a refresh; `refusal`: its answer instead.

    `revoking`: seconds of a revocation. `members` are put into the answers to refreshes; None takes
    one away. Without `rotating` refresh tokens are good for ever.
    """

    provider: ScriptedProvider
    lifetime: float = 300
    rotating: bool = True
    delay: float = 0.0
    revoking: float = 0.0
    refusal: Answer | None = None
    members: Callable[[Family], dict[str, Any]] | None = None
    counted: Counter[str] = field(default_factory=Counter[str])
    codes: dict[str, Family] = field(default_factory=dict[str, Family])
    families: dict[str, Family] = field(default_factory=dict[str, Family])

    def __post_init__(self) -> None:
        """Take over the token and revocation endpoints."""
        self.provider.answers["/token"] = self._token
        self.provider.answers["/revoke"] = self._revoke
        self.provider.metadata["userinfo_endpoint"] = None

    def settings(self) -> dict[str, str]:
        """Return the variables that point a service at this provider."""
        return {
            "BFF_ISSUER": self.provider.issuer,
            "BFF_CLIENT_ID": CLIENT_ID,
            "BFF_CLIENT_SECRET": CLIENT_SECRET,
            "BFF_SCOPES": "openid offline_access",
        }

    async def begin(self, browser: UserAgent, sub: str = "alice", sid: str | None = None) -> str:
        """Begin a login, and let its user agree; return the path of the callback."""
        page = await browser.navigate("/bff/login", follow=False)
        assert page.status == 303, page.text
        query = parse_qs(urlsplit(page.headers["location"]).query)
        code, number = f"code-{next(NUMBERS)}", next(NUMBERS)
        jkt = query.get("dpop_jkt", [None])[0]
        self.codes[code] = Family(sub, sid or f"sid-{number}", query["nonce"][0], jkt)
        return f"/bff/callback?{urlencode({'code': code, 'state': query['state'][0]})}"

    async def sign_in(self, browser: UserAgent, sub: str = "alice", sid: str | None = None) -> Page:
        """Sign a user in; return the answer to the callback."""
        return await browser.navigate(await self.begin(browser, sub, sid), follow=False)

    def logout_token(self, **who: str) -> str:
        """Return a logout token that speaks of a `sub` or a `sid`."""
        now = int(time.time())
        claims = jose.logout_claims(
            iss=self.provider.issuer, aud=CLIENT_ID, iat=now, exp=now + 120,
            jti=f"jti-{next(NUMBERS)}", **{"sub": None, "sid": None, **who},
        )  # fmt: skip
        return jose.sign(claims, kid="one", typ="logout+jwt")

    async def _token(self, asked: Asked) -> Answer:
        form = asked.form
        if form["grant_type"] == "authorization_code":
            self.counted["codes"] += 1
            family = self.codes.pop(form["code"], None)
            if family is None:
                return Answer(400, {"error": "invalid_grant"})
            return Answer(body=self._granted(family, nonce=family.nonce))
        self.counted["refreshes"] += 1
        family = self.families.get(form["refresh_token"])
        refusal, members = self.refusal, self.members
        await asyncio.sleep(self.delay)
        if refusal is not None:
            return refusal
        if family is None or family.revoked:
            self.counted["refused"] += 1
            return Answer(400, {"error": "invalid_grant"})
        if form["refresh_token"] in family.spent:
            self.counted["reused"] += 1
            family.revoked = True
            return Answer(400, {"error": "invalid_grant"})
        kept = {} if self.rotating else {"refresh_token": None}
        given = {**self._granted(family), **kept, **(members(family) if members else {})}
        if given.get("refresh_token") is not None:
            family.spent.add(form["refresh_token"])
        return Answer(body={name: value for name, value in given.items() if value is not None})

    def _granted(self, family: Family, **claims: Any) -> dict[str, Any]:
        number = next(NUMBERS)
        refresh_token = f"refresh-{number}"
        self.families[refresh_token] = family
        return {
            "access_token": f"access-{number}",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": refresh_token,
            "id_token": self.id_token(family, **claims),
        }

    def id_token(self, family: Family, **claims: Any) -> str:
        """Return an ID token about the family's user, or with other claims."""
        given = {"aud": CLIENT_ID, "sub": family.sub, "sid": family.sid, "nonce": None, **claims}
        return self.provider.id_token(**given)

    async def _revoke(self, asked: Asked) -> Answer:
        await asyncio.sleep(self.revoking)
        family = self.families.get(asked.form["token"])
        if family is not None:
            self.counted["revoked"] += not family.revoked
            family.revoked = True
        return Answer(body={})
