"""Signing in and out at providers as they are: their recorded documents, and what they then do.

One service, which knows them all at once; each provider is a scripted one that publishes a
recorded document with its own host in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
import pytest_asyncio

from tests.support import jose, processes
from tests.support.history import Page
from tests.support.processes import Service
from tests.support.recorded import play
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider, scripted_provider
from tests.support.site import bff_serve, usual
from tests.support.user_agent import UserAgent

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = "11111111-2222-3333-4444-555555555555"
THEIRS = "99999999-2222-3333-4444-555555555555"
NUMBERS = count(1)


@dataclass
class Place:
    """One provider: the claims of its next ID token, and the name of the key that signs it.

    `members` are those of its next token answer, `said` is what the latest request asked for.
    """

    name: str
    provider: ScriptedProvider
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    members: dict[str, Any] = field(default_factory=dict[str, Any])
    said: dict[str, str] = field(default_factory=dict[str, str])
    key: str | None = None

    @property
    def host(self) -> str:
        """The origin that stands for all its hosts."""
        parts = urlsplit(self.provider.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    def token(self, asked: Asked) -> Answer:
        """Answer the token endpoint."""
        del asked
        issued = int(time.time())
        claims = jose.id_claims(**{
            "iss": self.provider.issuer, "aud": self.name, "nonce": self.said.get("nonce"),
            "iat": issued, "exp": issued + 300, **self.claims,
        })  # fmt: skip
        signer = jose.rsa() if self.key is None else jose.rsa(self.key)
        body = {
            "access_token": f"access-{next(NUMBERS)}", "token_type": "Bearer", "expires_in": 300,
            "id_token": jose.sign(claims, signer, kid=self.key or "one"), **self.members,
        }  # fmt: skip
        return Answer(body={name: value for name, value in body.items() if value is not None})

    async def sign_in(self, browser: UserAgent) -> Page:
        """Go there and come back."""
        page = await browser.navigate(f"/bff/login?provider={self.name}", follow=False)
        assert page.status == 303, page.text
        self.said = dict(parse_qsl(urlsplit(page.headers["location"]).query))
        answer = urlencode({"code": "the-code", "state": self.said["state"]})
        path = urlsplit(self.said["redirect_uri"]).path
        return await browser.navigate(f"{path}?{answer}", follow=False)

    async def signed_in_as(self, browser: UserAgent) -> dict[str, Any]:
        """Sign in; return the user that the page is told of."""
        page = await self.sign_in(browser)
        assert page.status == 200, page.text
        told: dict[str, Any] = (await browser.fetch("/bff/session")).json()
        assert told["authenticated"] is True
        user: dict[str, Any] = told["user"]
        return user


@dataclass
class World:
    """The service, and all providers by name."""

    service: Service
    places: dict[str, Place]

    def window(self) -> UserAgent:
        """Return a browser that nobody has used."""
        return UserAgent(self.service.base_url)

    def reason(self) -> object:
        """Return why the latest login failed."""
        return self.service.events("login.failed")[-1]["reason"]

    async def sign_out(self, browser: UserAgent) -> tuple[str, dict[str, str]]:
        """Sign out; return where the browser is sent, and with what."""
        answer = await browser.fetch("/bff/logout", method="POST")
        page = await browser.navigate(answer.json()["logout_url"], follow=False)
        where = urlsplit(page.headers["location"])
        return page.headers["location"].partition("?")[0], dict(parse_qsl(where.query))


RECORDED = {
    "auth0": ("auth0", None, "/oauth/token"),
    "entra": ("entra-common", "/common/v2.0", "/common/oauth2/v2.0/token"),
    "google": ("google", None, "/token"),
    "cognito": ("cognito", None, "/oauth2/token"),
}


def configured(places: dict[str, Place]) -> dict[str, dict[str, Any]]:
    """Return the settings of each provider, as docs/providers.md has them."""
    at = {name: place.host for name, place in places.items()}
    quiet = {"fetch_userinfo": False}
    return {
        "auth0": {"authorize_params": {"audience": "https://api.example.com"}, **quiet},
        "entra": {"tenants": [OURS], **quiet},
        "google": {
            "authorize_params": {"access_type": "offline", "prompt": "consent", "hd": "a.example"},
            "required_claims": {"hd": "a.example"}, **quiet,
        },
        "cognito": {
            "end_session_endpoint": f"{at['cognito']}/logout",
            "logout_params": {
                "client_id": "{client_id}", "logout_uri": "{post_logout_redirect_uri}",
            },
            **quiet,
        },
        "github": {
            "oauth2_without_id_token": {
                "authorization_endpoint": f"{at['github']}/login/oauth/authorize",
                "token_endpoint": f"{at['github']}/login/oauth/access_token",
                "userinfo_endpoint": f"{at['github']}/user",
                "subject": "id", "claims": ["login"],
            },
            "scopes": "read:user",
        },
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    redis_process: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """All of them, and one service; the first provider is Auth0."""
    folder: Path = tmp_path_factory.mktemp("recorded")
    (folder / "index.html").write_text("hello")
    async with contextlib.AsyncExitStack() as stack:
        places: dict[str, Place] = {}
        for name in (*RECORDED, "github"):
            provider = await stack.enter_async_context(scripted_provider())
            places[name] = place = Place(name, provider)
            if name in RECORDED:
                document, path, token = RECORDED[name]
                play(provider, document, path)
                provider.answers[token] = place.token
        settings = configured(places)
        for name, entry in settings.items():
            entry |= {"issuer": places[name].provider.issuer, "client_id": name}
            entry["client_secret"] = "hush"
        first = {
            f"BFF_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in settings["auth0"].items()
        }
        port = processes.free_port()
        env = {
            **usual(port, redis_process), **first, "BFF_SPA": str(folder),
            "BFF_FRONTCHANNEL_LOGOUT": "true",
            "BFF_PROVIDERS": json.dumps({n: e for n, e in settings.items() if n != "auth0"}),
        }  # fmt: skip
        running = bff_serve(folder, port, env)
        service = await asyncio.to_thread(running.__enter__)
        places["default"] = places.pop("auth0")
        places["default"].name = "default"
        places["default"].claims["aud"] = "auth0"
        try:
            yield World(service, places)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def test_what_is_relaxed_is_warned_of_at_the_start(world: World) -> None:
    """A provider without ID tokens; tenants that are listed are nothing to warn of."""
    warned = world.service.events("provider.without_id_token")
    assert [line["issuer"] for line in warned] == [world.places["github"].provider.issuer]
    assert warned[0]["level"] == "warning"
    assert not world.service.events("provider.any_tenant")


async def test_auth0(world: World) -> None:
    """The issuer keeps its slash, the audience is asked for, the sign-out has all it may have."""
    place = world.places["default"]
    assert place.provider.issuer.endswith("/")
    async with world.window() as browser:
        assert (await place.signed_in_as(browser))["sub"] == "alice"
        assert place.said["audience"] == "https://api.example.com"
        where, sent = await world.sign_out(browser)
    assert where == f"{place.host}/oidc/logout"
    assert sent.keys() == {"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}


async def test_google(world: World) -> None:
    """Offline access and consent are asked for; the organisation is held against the ID token."""
    place = world.places["google"]
    async with world.window() as browser:
        place.claims = {"hd": "a.example"}
        await place.signed_in_as(browser)
        assert {name: place.said[name] for name in ("access_type", "prompt", "hd")} == {
            "access_type": "offline", "prompt": "consent", "hd": "a.example",
        }  # fmt: skip
        assert (await world.sign_out(browser))[0] == "/", "there is no sign-out at Google"
        for claims in ({}, {"hd": "evil.example"}):
            place.claims = claims
            assert (await place.sign_in(browser)).status == 400
            assert world.reason() == "required_claim"


async def test_a_user_of_a_tenant_of_ours(world: World) -> None:
    """`iss` is the tenant's; the session is found by that, by a front-channel logout too."""
    place = world.places["entra"]
    issuer = f"{place.host}/{OURS}/v2.0"
    place.claims = {"iss": issuer, "tid": OURS, "sid": "s 1"}
    async with world.window() as browser:
        await place.signed_in_as(browser)
        unsaid = await browser.fetch("/bff/frontchannel-logout")
        assert unsaid.status_code == 200
        for iss in (place.provider.issuer, f"{place.host}/{THEIRS}/v2.0"):
            await browser.fetch("/bff/frontchannel-logout?" + urlencode({"iss": iss, "sid": "s 1"}))
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is True
        query = urlencode({"iss": issuer, "sid": "s 1"})
        await browser.fetch(f"/bff/frontchannel-logout?{query}")
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is False
        place.claims["sid"] = "s 2"
        await place.signed_in_as(browser)
        where, sent = await world.sign_out(browser)
        assert where == f"{place.host}/common/oauth2/v2.0/logout"
        assert sent["post_logout_redirect_uri"].endswith("/bff/logged-out")


async def test_users_of_other_tenants_are_refused(world: World) -> None:
    """Whoever Microsoft vouches for, and whichever of the two claims says otherwise."""
    place = world.places["entra"]
    cases: list[tuple[dict[str, str], str]] = [
        ({"iss": f"{place.host}/{THEIRS}/v2.0", "tid": THEIRS}, "tenant"),
        ({"iss": f"{place.host}/{THEIRS}/v2.0", "tid": OURS}, "iss"),
        ({"iss": f"{place.host}/{OURS}/v2.0", "tid": THEIRS}, "iss"),
        ({"iss": f"{place.host}/{OURS}/v2.0"}, "iss"),
        ({}, "iss"),
    ]
    for claims, reason in cases:
        place.claims = claims
        async with world.window() as browser:
            assert (await place.sign_in(browser)).status == 400
            assert world.reason() == reason
            assert (await browser.fetch("/bff/session")).json()["authenticated"] is False


async def test_a_key_of_another_tenant_signs_nothing_of_ours(world: World) -> None:
    """The key set is shared; each key says whose it is."""
    place = world.places["entra"]
    place.claims = {"iss": f"{place.host}/{OURS}/v2.0", "tid": OURS}
    shared = place.provider.keys[:]
    for kid, tenant, status in (("theirs", THEIRS, 400), ("ours", OURS, 200)):
        key = jose.jwk(jose.rsa(kid), kid=kid, issuer=f"{place.host}/{tenant}/v2.0")
        place.provider.keys.append(key)
        place.key = kid
        async with world.window() as browser:
            assert (await place.sign_in(browser)).status == status
        if status != 200:
            assert world.reason() == "key_issuer"
    place.key = None
    place.provider.keys[:] = shared


async def test_cognito(world: World) -> None:
    """Its own form of sign-out; a refresh that brings no refresh token keeps the old one."""
    place = world.places["cognito"]
    place.members = {"refresh_token": "the-one"}
    async with world.window() as browser:
        await place.signed_in_as(browser)
        place.members, place.said["nonce"] = {"id_token": None}, ""
        for _ in range(2):
            assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
            assert place.provider.last("/oauth2/token").form["refresh_token"] == "the-one"
        before = len(world.service.events("logout.state_refused"))
        where, sent = await world.sign_out(browser)
        returned = await browser.navigate(sent["logout_uri"], follow=False)
    assert where == f"{place.host}/logout"
    assert sent == {
        "client_id": "cognito",
        "logout_uri": f"{world.service.base_url}/bff/logged-out",
    }
    assert returned.headers["location"] == "/"
    assert len(world.service.events("logout.state_refused")) == before


async def test_the_page_may_send_its_forms_to_every_sign_out(world: World) -> None:
    """Of the document, or of BFF_END_SESSION_ENDPOINT."""
    async with world.window() as browser:
        page = await browser.navigate("/")
    policy = page.headers["content-security-policy"]
    (allowed,) = [part for part in policy.split("; ") if part.startswith("form-action")]
    expected = {world.places[name].host for name in ("default", "entra", "cognito")}
    assert set(allowed.split()[1:]) == {"'self'", *expected}


async def test_github(world: World) -> None:
    """The API says who it is; PKCE and `state` as ever; the sign-out stays here."""
    place = world.places["github"]
    place.provider.answers["/login/oauth/access_token"] = Answer(
        body={"access_token": "gho_1", "token_type": "bearer", "scope": "read:user"}
    )
    place.provider.answers["/user"] = Answer(body={"id": 583231, "login": "octocat", "plan": {}})
    async with world.window() as browser:
        user = await place.signed_in_as(browser)
        assert user == {"sub": "583231", "login": "octocat"}
        assert place.said["scope"] == "read:user"
        assert place.said["code_challenge_method"] == "S256"
        assert "nonce" not in place.said
        form = place.provider.last("/login/oauth/access_token").form
        assert form["code_verifier"]
        assert form["redirect_uri"].endswith("/bff/callback/github")
        assert place.provider.last("/user").headers["authorization"] == "Bearer gho_1"
        stepped = await browser.navigate("/bff/login?max_age=0", follow=False)
        assert stepped.status == 400, "nobody could say that it was done"
        where, sent = await world.sign_out(browser)
        assert (where, sent) == ("/", {})
        place.provider.answers["/user"] = Answer(body={"message": "nobody"})
        assert (await place.sign_in(browser)).status == 400
        assert world.reason() == "userinfo_sub"
        place.provider.answers["/login/oauth/access_token"] = Answer(
            body={"error": "bad_verification_code"}
        )
        assert (await place.sign_in(browser)).status == 400
        assert world.reason() == "token_endpoint_invalid_grant"


async def test_github_apps_refresh(world: World) -> None:
    """Where tokens expire they are refreshed; GitHub's word for a spent one ends the session."""
    place = world.places["github"]
    granted = {"access_token": "ghu_1", "token_type": "bearer", "expires_in": 28_800}
    endpoint = "/login/oauth/access_token"
    place.provider.answers[endpoint] = Answer(body={**granted, "refresh_token": "ghr_1"})
    place.provider.answers["/user"] = Answer(body={"id": 1, "login": "octocat"})
    async with world.window() as browser:
        await place.signed_in_as(browser)
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 200
        assert place.provider.last(endpoint).form["refresh_token"] == "ghr_1"
        place.provider.answers[endpoint] = Answer(body={"error": "bad_refresh_token"})
        assert (await browser.fetch("/bff/refresh", method="POST")).status_code == 401
        assert (await browser.fetch("/bff/session")).json()["authenticated"] is False


async def test_a_logout_token_in_the_name_of_github_is_refused(world: World) -> None:
    """It has no keys, so nobody can speak for it."""
    place = world.places["github"]
    token = jose.sign(
        jose.logout_claims(iss=place.provider.issuer, aud="github", sub="583231"), kid="one"
    )
    async with httpx2.AsyncClient(base_url=world.service.base_url, trust_env=False) as client:
        answer = await client.post("/bff/backchannel-logout", data={"logout_token": token})
    assert answer.status_code == 400
    assert world.service.events("logout.backchannel_refused")[-1]["reason"] == "no_keys"
