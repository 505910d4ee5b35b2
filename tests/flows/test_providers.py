"""Several providers at one service: chosen by users, never mixed up, each with its own sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from bff.oidc.keys import claimed_issuer
from tests.support import processes
from tests.support.history import Page
from tests.support.processes import DevProvider, Service
from tests.support.site import bff_serve, dev_provider, usual
from tests.support.user_agent import UserAgent


@dataclass(frozen=True)
class Two:
    """One service and two providers of the same kind; the further one is called `other`."""

    service: Service
    first: DevProvider
    other: DevProvider

    def window(self) -> UserAgent:
        """Return a browser that nobody has used."""
        return UserAgent(self.service.base_url)

    async def sign_in(self, browser: UserAgent, name: str, user: str = "alice") -> Page:
        """Choose a provider, and sign in there."""
        await browser.navigate(f"/bff/login?provider={name}&return_to=/here")
        return await browser.submit(button=user)


@pytest.fixture(scope="module")
def two(redis_process: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Both providers, and the service."""
    folder = tmp_path_factory.mktemp("providers")
    port = processes.free_port()
    base = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        first = stack.enter_context(dev_provider(folder, port))
        other = stack.enter_context(
            dev_provider(folder, port, "--redirect-uri", f"{base}/bff/callback/other")
        )
        further = {"other": {
            "label": "The other one", "issuer": other.issuer, "client_id": other.client_id,
            "scopes": "openid profile offline_access",
        }}  # fmt: skip
        service = stack.enter_context(
            bff_serve(folder, port, {
                **usual(port, redis_process), **first.settings(), "BFF_INITIATE_LOGIN": "true",
                "BFF_PROVIDERS": json.dumps(further),
                "BFF_PROVIDERS__OTHER__CLIENT_SECRET": other.client_secret,
            })
        )  # fmt: skip
        yield Two(service, first, other)


async def session_of(browser: UserAgent) -> dict[str, object]:
    """Return what the page is told."""
    answer = await browser.fetch("/bff/session")
    told: dict[str, object] = answer.json()
    return told


async def logout_at(provider: DevProvider, **who: str) -> None:
    """Have a provider sign somebody out over the back channel."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{provider.issuer}/dev/logout", params=who)
    assert answer.status_code < 400, answer.text


async def test_the_user_chooses_where_none_is_named(two: Two) -> None:
    """A page with a link a provider, which keeps what the page asked for; each leads there."""
    async with two.window() as browser:
        page = await browser.navigate("/bff/login?return_to=/here&login_hint=al")
        assert (page.status, page.path) == (200, "/bff/login")
        labels = [label for _, label in page.content.links]
        assert labels == ["127.0.0.1", "The other one"]
        page = await browser.click("The other one")
        assert page.url.startswith(two.other.issuer)
        page = await browser.submit(button="alice")
        assert page.path == "/here"
        assert (await session_of(browser))["authenticated"] is True


async def test_each_provider_has_its_own_redirect_uri(two: Two) -> None:
    """`/bff/callback` for the first, `/bff/callback/NAME` for the others."""
    async with two.window() as browser:
        for name, provider, path in (
            ("default", two.first, "/bff/callback"),
            ("other", two.other, "/bff/callback/other"),
        ):
            page = await browser.navigate(f"/bff/login?provider={name}", follow=False)
            location = urlsplit(page.headers["location"])
            assert f"{location.scheme}://{location.netloc}" == provider.issuer
            (uri,) = parse_qs(location.query)["redirect_uri"]
            assert uri == f"{two.service.base_url}{path}"


async def test_an_unknown_provider_is_a_bad_request(two: Two) -> None:
    """And nobody is sent anywhere."""
    async with two.window() as browser:
        page = await browser.navigate("/bff/login?provider=nobody")
        assert (page.status, page.path) == (400, "/bff/login")


@pytest.mark.parametrize("forged", [False, True])
async def test_one_providers_answer_is_not_taken_at_anothers_address(
    two: Two, forged: bool
) -> None:
    """Mix-up (RFC 9700 4.4): the login of one and the callback of the other do not meet.

    Not even where the answer claims to be of the provider whose callback it is.
    """
    async with two.window() as browser:
        await browser.navigate("/bff/login?provider=other")
        page = await browser.submit(button="alice", follow=False)
        answer = urlsplit(page.headers["location"])
        assert answer.path == "/bff/callback/other"
        query = dict(parse_qsl(answer.query))
        if forged:
            query["iss"] = two.first.issuer
        page = await browser.navigate(
            f"/bff/callback?{urlencode(query)}", initiator=two.other.issuer
        )
        assert page.status == 400
        assert (await session_of(browser))["authenticated"] is False
    reason = "login_of_other_issuer" if forged else "iss_mismatch"
    assert two.service.events("login.failed")[-1]["reason"] == reason


async def test_sessions_of_both_refresh_and_end_at_their_own_provider(two: Two) -> None:
    """Tokens are refreshed where they are from, and the sign-out leads there."""
    for name, provider in (("default", two.first), ("other", two.other)):
        async with two.window() as browser:
            await two.sign_in(browser, name)
            answer = await browser.fetch("/bff/refresh", method="POST")
            assert answer.status_code == 200, answer.text
            answer = await browser.fetch("/bff/logout", method="POST")
            page = await browser.navigate(answer.json()["logout_url"], follow=False)
            assert page.headers["location"].startswith(provider.issuer)
            assert (await session_of(browser))["authenticated"] is False


async def test_the_same_sub_at_two_providers_is_two_people(two: Two) -> None:
    """What one provider says of `alice` ends no session of the other's alice."""
    async with two.window() as here, two.window() as there:
        await two.sign_in(here, "default")
        await two.sign_in(there, "other")
        await logout_at(two.other, sub="alice")
        assert (await session_of(there))["authenticated"] is False
        assert (await session_of(here))["authenticated"] is True
        listed = (await here.fetch("/bff/sessions")).json()["sessions"]
        assert [one["current"] for one in listed].count(True) == 1
        await logout_at(two.first, sub="alice")
        assert (await session_of(here))["authenticated"] is False


async def test_a_logout_token_of_nobody_we_know_is_refused(two: Two) -> None:
    """Its issuer is none of ours, or there is none: 400, and nothing ends."""
    stranger = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.c2ln"
    assert claimed_issuer(stranger) == "https://evil.example"
    async with httpx2.AsyncClient(base_url=two.service.base_url, trust_env=False) as client:
        for token in (stranger, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "nonsense", "a.b.c"):
            answer = await client.post("/bff/backchannel-logout", data={"logout_token": token})
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_step_up_goes_to_the_provider_of_the_session(two: Two) -> None:
    """What is asked of a user who is signed in needs no choice."""
    async with two.window() as browser:
        await two.sign_in(browser, "other")
        page = await browser.navigate("/bff/login?max_age=3600", follow=False)
        assert page.headers["location"].startswith(two.other.issuer)


async def test_a_provider_that_starts_a_login_is_told_by_its_issuer(two: Two) -> None:
    """Third-party-initiated login finds the right one; a stranger is refused."""
    async with two.window() as browser:
        page = await browser.navigate(
            f"/bff/initiate-login?iss={two.other.issuer}", initiator=two.other.issuer, follow=False
        )
        assert page.headers["location"].startswith(two.other.issuer)
        page = await browser.navigate("/bff/initiate-login?iss=https://evil.example")
        assert page.status == 400
