from __future__ import annotations

import pytest

from bff.demo.provider.dev_pages import ago
from tests.unit.demo.driver import Driver

HTML = {"Accept": "text/html,*/*"}


async def test_the_start_page_shows_who_is_signed_in(driver: Driver) -> None:
    """Each user is listed, with their sessions and a button."""
    await driver.sign_in("bob")
    page = (await driver.http.get("/")).text
    assert page.count("Sign this user out everywhere</button>") == 3
    assert page.count("Signed in, 1 browser, last just now") == 1
    assert page.count("Not signed in") == 2


async def test_a_button_returns_to_the_start_page(driver: Driver) -> None:
    """A form of the page comes back to it; a program gets JSON."""
    for path, form in (("/dev/logout", {"sub": "bob"}), ("/dev/rotate-keys", {})):
        own = HTML | {"Sec-Fetch-Site": "same-origin"}
        answer = await driver.http.post(path, data=form, headers=own)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        program = await driver.http.post(path, data=form)
        assert "counters" in program.json()


@pytest.mark.parametrize("path", ["/dev/logout?sub=alice", "/dev/rotate-keys"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8081"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_other_sites_cannot_press_buttons(
    driver: Driver, path: str, headers: dict[str, str]
) -> None:
    """A form of another site's page is refused."""
    assert (await driver.http.post(path, headers=headers)).status_code == 403
    assert "key_rotations" not in await driver.counters()


async def test_an_older_browser_may_press_buttons(driver: Driver) -> None:
    """Without Sec-Fetch-Site our own Origin does."""
    headers = {"Origin": driver.issuer}
    assert (await driver.http.post("/dev/rotate-keys", headers=headers)).status_code == 200


async def test_the_state_counts_and_tells_no_secret(driver: Driver) -> None:
    """The figures are there for tests; no token, code or cookie is among them."""
    tokens = await driver.sign_in()
    await driver.refresh(tokens["refresh_token"])
    await driver.token(grant_type="client_credentials")
    answer = await driver.http.get("/dev/state")
    counters = answer.json()["counters"]
    assert counters["token_requests.authorization_code"] == 1
    assert counters["token_requests.refresh_token"] == 1
    assert counters["token_requests.client_credentials"] == 1
    assert counters["sign_ins"] == 1
    secrets = [tokens["access_token"], tokens["refresh_token"], tokens["id_token"]]
    secrets += list(driver.http.cookies.values())
    assert not [secret for secret in secrets if secret in answer.text]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (7200, "2 hours ago"),
    ],
)
def test_ago(seconds: int, words: str) -> None:
    """Times are told in words."""
    assert ago(seconds) == words
