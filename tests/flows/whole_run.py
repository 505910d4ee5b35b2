"""Everything a service does in a day, once, with every secret of it noted."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import httpx2
import redis

from tests.hostile.rig import CLIENT_ID, CLIENT_SECRET, Rig, open_rig, post_logout_token, times
from tests.support import jose, processes
from tests.support.raw_http import exchange, request
from tests.support.scripted_provider import Answer, Asked
from tests.support.site import SECRET
from tests.support.upstream_server import upstream_server
from tests.support.user_agent import UserAgent

SUB = "sub-that-names-a-person"
SID = "sid-that-names-a-session"
NAME = "Alexandrina Nowhere-Else"


@dataclass
class Run:
    """What a run left: everything logged, everything that must not be, answers, Redis's content."""

    lines: list[str] = field(default_factory=list[str])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    answers: list[httpx2.Response] = field(default_factory=list[httpx2.Response])
    stored: list[bytes] = field(default_factory=list[bytes])

    def keep(self, what: str, value: str | None) -> str:
        """Note a secret; return it."""
        assert value is not None
        assert len(value) >= 8, what
        self.secrets[what] = value
        return value

    def fresh(self, what: str) -> str:
        """Make a secret up, and note it."""
        return self.keep(what, f"{what.replace(' ', '-')}-{secrets.token_hex(12)}")

    def dump(self, url: str) -> None:
        """Note all that is in Redis now."""
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter("*"):
                self.stored += [key, *_values(client, key)]


def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    """Return the parts of a value of any type, as bytes."""
    anything: Any = client  # its commands are typed for sync and async at once
    match anything.type(key):
        case b"string":
            return [anything.get(key)]
        case b"zset":
            return list(anything.zrange(key, 0, -1))
        case b"hash":
            return [part for pair in anything.hgetall(key).items() for part in pair]
        case b"set":
            return list(anything.smembers(key))
        case kind:
            raise AssertionError(f"a {kind!r} that this test does not know")


@contextlib.asynccontextmanager
async def whole_run(folder: Path) -> AsyncIterator[Run]:
    """Sign in, call, refresh, be refused in many ways, sign out; twice, and both logout kinds."""
    run = Run()
    with upstream_server() as upstream:
        env = {
            "BFF_ROUTES": json.dumps(
                {
                    "/api": upstream.url,
                    "/down": {"upstream": f"http://127.0.0.1:{processes.free_port()}"},
                }
            ),
            "BFF_SCOPES": "openid profile offline_access",
        }
        async with open_rig(folder, env) as rig:
            run.keep("client secret", CLIENT_SECRET)
            run.keep("BFF_SECRET", SECRET)
            basic = f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}"
            run.keep("basic", base64.b64encode(basic.encode()).decode())
            async with UserAgent(rig.service.base_url) as browser:
                await sign_in(run, rig, browser, "first")
                await work(run, rig, browser)
                await misbehave(run, rig, browser)
                await sign_out(run, rig, browser)
                await sign_in(run, rig, browser, "second")
                await be_signed_out(run, rig, browser)
            run.dump(rig.service.env["BFF_REDIS_URL"])
            service = rig.service
        run.lines = service.process.text().splitlines()
    yield run


async def sign_in(run: Run, rig: Rig, browser: UserAgent, which: str) -> None:
    """Sign in, noting every secret of the login."""
    query = run.fresh(f"{which} return query")
    begun = await rig.begin(browser, f"?return_to={quote(f'/x?key={query}')}&login_hint=alice")
    run.keep(f"{which} login cookie", browser.cookies.get("bff-login"))
    for name in ("state", "nonce"):
        run.keep(f"{which} {name}", begun.query[name])
    run.dump(rig.service.env["BFF_REDIS_URL"])
    code = run.fresh(f"{which} code")
    begun = type(begun)(code, begun.query, begun.claims)
    id_token = jose.sign({**begun.claims, "sub": SUB, "sid": SID, "name": NAME}, kid="one")
    refresh = run.fresh(f"{which} refresh token")
    access = run.fresh(f"{which} access token")
    begun.claims["sub"] = SUB
    rig.grants(
        begun,
        run.keep(f"{which} id token", id_token),
        access_token=access,
        refresh_token=refresh,
    )
    rig.subs[access] = SUB
    rig.plans[refresh] = Answer(
        body={
            "access_token": run.fresh(f"{which} new access token"),
            "refresh_token": run.fresh(f"{which} new refresh token"),
            "token_type": "Bearer",
            "expires_in": 300,
        }
    )
    outcome = await rig.finish(browser, begun)
    assert outcome.signed_in, outcome.reasons
    run.keep(f"{which} code verifier", rig.provider.last("/token").form["code_verifier"])
    run.keep(f"{which} session cookie", browser.cookies.get("bff"))
    run.dump(rig.service.env["BFF_REDIS_URL"])


async def work(run: Run, rig: Rig, browser: UserAgent) -> None:
    """Call the API, refresh, and be refused by what is away."""
    token = run.fresh("query token")
    answers = [
        await browser.fetch(
            f"/api/x?access_token={token}", headers={"Authorization": f"Bearer {token}"}
        ),
        await browser.fetch("/api/x", method="POST", content=run.fresh("body").encode()),
        await browser.fetch("/bff/session"),
        await browser.fetch("/bff/refresh", method="POST"),
        await browser.fetch(f"/down?q={token}"),
        await browser.fetch(f"/nothing?q={token}"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 502, 404]
    run.answers += answers


async def misbehave(run: Run, rig: Rig, browser: UserAgent) -> None:
    """Bad requests with secrets in odd places, and a provider that talks too much."""
    base, secret = rig.service.base_url, run.fresh("odd secret")
    provider_says = run.fresh("provider says")
    for path in (
        f"/bff/callback?code={secret}&state={secret}",
        f"/bff/callback?code={secret}&code={secret}",
        f"/bff/callback?error={secret}&error_description={secret}&state={secret}",
        f"/bff/login?prompt={secret}",
        f"/bff/login?max_age={secret}",
        f"/bff/logout?go={secret}",
        f"/bff/logged-out?state={secret}",
        f"/bff/session?slide={secret}&slide={secret}",
    ):
        run.answers.append(await browser.fetch(path))
    for fields in (
        (f"Cookie: bff={secret}",), (f"Cookie: bff={secret}; bff={secret}x",),
        (f"Authorization: {secret}",),
        (f"X-Bff-Key: {secret}", f"DPoP: {secret}"), (f"Host: {secret}",), (f"{secret}: x\x00",),
    ):  # fmt: skip
        await exchange(base, request(f"/bff/session?{secret}", *fields))
    await exchange(base, f"GET /{secret}\r\nbad".encode() + b"\x00\r\n\r\n")
    await post_logout_token(rig, f"{secret}.{secret}.{secret}")
    await post_logout_token(rig, run.keep("wrong logout token", logout_token(rig, aud="other")))
    for answer in (
        Answer(400, {"error": provider_says, "error_description": provider_says}),
        Answer(500, {"error": provider_says}),
        Answer(200, f"<html>{provider_says}".encode(), headers=(("X-Said", provider_says),)),
        Answer(200, {"access_token": provider_says, "token_type": provider_says}),
        Answer(
            200, {"access_token": provider_says, "token_type": "Bearer", "id_token": provider_says}
        ),
        Answer(200, {"access_token": provider_says}, cut=5),
    ):
        async with UserAgent(base) as other:
            begun = await rig.begin(other)
            rig.plans[begun.code] = answer
            outcome = await rig.finish(other, begun)
            assert outcome.page.status >= 400
            assert provider_says not in outcome.page.text


async def sign_out(run: Run, rig: Rig, browser: UserAgent) -> None:
    """Sign out in the browser, with the provider's end of it."""
    rig.provider.answers["/revoke"] = lambda asked: _note_revoked(run, asked)
    answer = await browser.fetch("/bff/logout", method="POST")
    run.answers.append(answer)
    handle = answer.json()["logout_url"].partition("go=")[2]
    run.keep("sign-out handle", handle)
    run.dump(rig.service.env["BFF_REDIS_URL"])
    page = await browser.navigate(answer.json()["logout_url"], follow=False)
    state = page.headers["location"].rpartition("state=")[2]
    run.keep("logout state", unquote(state))
    await browser.navigate(f"/bff/logged-out?state={state}", follow=False)


def _note_revoked(run: Run, asked: Asked) -> Answer:
    assert asked.form["token"] == run.secrets["first new refresh token"]
    return Answer(200, {})


async def be_signed_out(run: Run, rig: Rig, browser: UserAgent) -> None:
    """The provider signs the user out."""
    answer = await post_logout_token(rig, run.keep("logout token", logout_token(rig)))
    assert answer.status_code == 200
    assert not (await browser.fetch("/bff/session")).json()["authenticated"]
    run.answers.append(await browser.fetch("/api/x?after=1"))


def logout_token(rig: Rig, **changes: object) -> str:
    """Return a logout token for the user's session."""
    given = {**times(120), "iss": rig.provider.issuer, "aud": CLIENT_ID, "sub": SUB, "sid": SID}
    return jose.sign(
        jose.logout_claims(**{**given, "jti": secrets.token_hex(8), **changes}), kid="one"
    )
