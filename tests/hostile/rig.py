"""A service at a provider that says whatever a test wants: what is shared by the hostile tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import jose, processes
from tests.support.history import Page
from tests.support.processes import Service
from tests.support.scripted_provider import (
    Answer,
    Asked,
    Script,
    ScriptedProvider,
    scripted_provider,
)
from tests.support.site import bff_serve, usual
from tests.support.user_agent import UserAgent

CLIENT_ID = "client:with odd%chars+/=~"
CLIENT_SECRET = (
    "secret:with odd%chars+/=~ \N{DEGREE SIGN}".encode("ascii", "ignore").decode() + "&?"
)

Claims = Mapping[str, Any]
Mint = Callable[["Begun"], str]


@dataclass(frozen=True)
class Begun:
    """A login that waits for its answer, as the provider sees it."""

    code: str
    query: dict[str, str]
    claims: dict[str, Any]

    @property
    def state(self) -> str:
        """What the answer must carry back."""
        return self.query["state"]


@dataclass(frozen=True)
class Outcome:
    """What became of a login. `asked`: the provider's addresses that were called after it began."""

    page: Page
    signed_in: bool
    reasons: list[str]
    asked: list[str]


@dataclass
class Rig:
    """The provider and the service. `form_post`: how answers come back; `alg`: of ID tokens."""

    provider: ScriptedProvider
    service: Service
    form_post: bool = False
    alg: str = "RS256"
    token_type: str = "Bearer"
    plans: dict[str, Script] = field(default_factory=dict[str, Script])
    subs: dict[str, str] = field(default_factory=dict[str, str])
    codes: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        """Let each code have its own answer."""
        self.provider.answers["/token"] = self._token
        self.provider.answers["/userinfo"] = self._userinfo

    async def begin(self, browser: UserAgent, options: str = "", sub: str = "alice") -> Begun:
        """Begin a login; what the provider would sign for it is in `claims`."""
        page = await browser.navigate(f"/bff/login{options}", follow=False)
        assert page.status == 303, page.text
        query = {
            name: values[0]
            for name, values in parse_qs(urlsplit(page.headers["location"]).query).items()
        }
        if "request_uri" in query:
            query = self.provider.last("/par").form
        claims = jose.id_claims(
            **{**times(), "iss": self.provider.issuer, "aud": CLIENT_ID, "sub": sub},
            nonce=query["nonce"],
        )
        return Begun(f"code-{next(self.codes)}", query, claims)

    def grants(self, begun: Begun, minted: str | None = None, **members: Any) -> None:
        """Have the token endpoint answer this login; members that are None are left out."""
        answer = {
            "access_token": f"access-{begun.code}",
            "token_type": self.token_type,
            "expires_in": 300,
            "id_token": minted or self.sign(begun.claims),
            **members,
        }
        body = {name: value for name, value in answer.items() if value is not None}
        self.subs[str(answer["access_token"])] = begun.claims["sub"]
        self.plans[begun.code] = Answer(body=body)

    def sign(self, claims: Claims) -> str:
        """Return an ID token as this provider signs them."""
        return jose.sign(claims, alg=self.alg, kid="one")

    async def finish(
        self, browser: UserAgent, begun: Begun, parameters: Mapping[str, str | None] | None = None
    ) -> Outcome:
        """Bring the browser back with the answer; parameters that are None are left out."""
        before = len(self.provider.asked)
        answer = {"code": begun.code, "state": begun.state, **(parameters or {})}
        given = {name: value for name, value in answer.items() if value is not None}
        page = await self._back(browser, given)
        asked = [urlsplit(one.target).path for one in self.provider.asked[before:]]
        session = await browser.fetch("/bff/session")
        request_id = page.headers["x-request-id"]
        reasons = [
            str(line["reason"])
            for line in self.service.log
            if line.get("request_id") == request_id
            and line["event"] in {"login.failed", "request.refused"}
        ]
        return Outcome(page, session.json()["authenticated"], list(dict.fromkeys(reasons)), asked)

    async def login(self, mint: Mint | None = None, **members: Any) -> Outcome:
        """Go through a whole login whose ID token is what `mint` makes."""
        async with UserAgent(self.service.base_url) as browser:
            begun = await self.begin(browser)
            self.grants(begun, mint(begun) if mint else None, **members)
            return await self.finish(browser, begun)

    async def _back(self, browser: UserAgent, given: Mapping[str, str]) -> Page:
        if not self.form_post:
            return await browser.navigate(f"/bff/callback?{urlencode(given)}", follow=False)
        return await browser.navigate(
            "/bff/callback",
            method="POST",
            data=given,
            initiator=f"{self.provider.issuer}authorize",
            follow=False,
        )

    async def _token(self, asked: Asked) -> Answer:
        form = asked.form
        plan = self.plans.get(form.get("code") or form.get("refresh_token", ""))
        if plan is None:
            return Answer(400, {"error": "invalid_grant"})
        if isinstance(plan, Answer):
            return plan
        said = plan(asked)
        return said if isinstance(said, Answer) else await said

    def _userinfo(self, asked: Asked) -> Answer:
        sub = self.subs[asked.headers["authorization"].partition(" ")[2]]
        return Answer(body={"sub": sub, "name": sub.title()})


@dataclass(frozen=True)
class Wide:
    """A rig, and the API behind the route `/api`."""

    rig: Rig
    api: ScriptedProvider


def times(lifetime: float = 300) -> dict[str, float]:
    """Return `iat` and `exp` of a token issued now."""
    issued = int(time.time())
    return {"iat": issued, "exp": issued + lifetime}


def signed_with_any_header(header: Mapping[str, Any], claims: Claims) -> str:
    """Return an RS256 token whose header no library would write."""
    parts = ({"alg": "RS256", "kid": "one", **header}, dict(claims))
    signed = ".".join(jose.b64(json.dumps(part).encode()) for part in parts)
    key = jose.rsa().private_key
    assert key is not None
    return f"{signed}.{jose.b64(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


@contextlib.asynccontextmanager
async def open_rig(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    prepare: Callable[[ScriptedProvider], None] | None = None,
    wait: str = "readyz",
) -> AsyncIterator[Rig]:
    """Run a service at a scripted provider whose issuer ends with a slash."""
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(scripted_provider("/"))
        if prepare is not None:
            prepare(provider)
        port = processes.free_port()
        redis_url = stack.enter_context(processes.redis_server(folder))
        variables = {
            **usual(port, redis_url),
            "BFF_ISSUER": provider.issuer,
            "BFF_CLIENT_ID": CLIENT_ID,
            "BFF_CLIENT_SECRET": CLIENT_SECRET,
            "BFF_SCOPES": "openid profile",
            **(env or {}),
        }
        running = bff_serve(folder, port, variables, wait=wait)
        service = await asyncio.to_thread(running.__enter__)
        try:
            yield Rig(
                provider,
                service,
                form_post=variables.get("BFF_RESPONSE_MODE") == "form_post",
                alg=variables.get("BFF_ID_TOKEN_ALG", "RS256"),
                token_type="DPoP" if "BFF_DPOP" in variables else "Bearer",
            )
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def post_logout_token(rig: Rig, token: str, **more: str) -> httpx2.Response:
    """Send a logout token as a provider does."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        form = {"logout_token": token, "ignored_parameter": "x", **more}
        return await client.post(f"{rig.service.base_url}/bff/backchannel-logout", data=form)
