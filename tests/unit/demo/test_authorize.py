from __future__ import annotations

import pytest

from tests.unit.demo.driver import CALLBACK, Driver, hidden, landed

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_sign_in_answers_with_a_code(driver: Driver) -> None:
    """A click on a card sends the browser back with code, state and iss."""
    answer = await driver.choose(await driver.authorize(), "alice")
    parameters = landed(answer)
    assert set(parameters) == {"code", "state", "iss"}
    assert (parameters["state"], parameters["iss"]) == ("the state", driver.issuer)
    assert "no-store" in answer.headers["cache-control"]


async def test_the_answer_keeps_the_query_of_the_redirect_uri(driver: Driver) -> None:
    """A redirect URI that has a query keeps it."""
    page = await driver.authorize(redirect_uri=CALLBACK + "?a=1")
    assert landed(await driver.choose(page, "bob"))["a"] == "1"


async def test_a_signed_in_browser_is_not_asked_again(driver: Driver) -> None:
    """The second request is answered at once, also with prompt=none."""
    await driver.code()
    landed(await driver.authorize())
    assert "code" in landed(await driver.authorize(prompt="none"))


async def test_the_session_cookie_is_kept_from_scripts(driver: Driver) -> None:
    """The cookie of the sign-in is HttpOnly and SameSite=Lax."""
    answer = await driver.choose(await driver.authorize(), "alice")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "domain" not in cookie


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "login"},
        {"prompt": "select_account"},
        {"prompt": "consent"},
        {"prompt": "login consent"},
        {"max_age": "0"},
        {"acr_values": "urn:demo:acr:strong"},
    ],
)
async def test_some_requests_ask_a_signed_in_user_again(
    driver: Driver, changes: dict[str, str]
) -> None:
    """prompt, max_age=0 and a higher acr show the sign-in page, and the answer has a new time."""
    await driver.sign_in()
    driver.clock.now += 100
    page = await driver.authorize(**changes)
    assert page.status_code == 200
    answer = await driver.redeem(landed(await driver.choose(page, "alice"))["code"])
    claims = (await driver.verified(answer.json()["id_token"])).claims
    assert claims["auth_time"] == int(driver.clock.now)


async def test_max_age_counts_from_the_sign_in(driver: Driver) -> None:
    """A session that is young enough does, an older one does not."""
    first = await driver.sign_in()
    driver.clock.now += 100
    again = await driver.sign_in(max_age="101")
    claims = (await driver.verified(again["id_token"])).claims
    assert claims["auth_time"] == (await driver.verified(first["id_token"])).claims["auth_time"]
    assert (await driver.authorize(max_age="100")).status_code == 200
    error = landed(await driver.authorize(max_age="100", prompt="none"))
    assert error["error"] == "login_required"


async def test_acr_is_what_was_asked_for(driver: Driver) -> None:
    """A known acr is echoed, an unknown one is passed over for the session's own."""
    strong = await driver.sign_in(acr_values="urn:other urn:demo:acr:strong")
    assert (await driver.verified(strong["id_token"])).claims["acr"] == "urn:demo:acr:strong"
    other = await driver.sign_in(acr_values="urn:other", prompt="none")
    assert (await driver.verified(other["id_token"])).claims["acr"] == "urn:demo:acr:strong"
    lower = await driver.sign_in(acr_values="urn:demo:acr:basic", prompt="none")
    assert (await driver.verified(lower["id_token"])).claims["acr"] == "urn:demo:acr:basic"


async def test_signing_in_again_keeps_the_sid(driver: Driver) -> None:
    """The same user in the same browser keeps the session; another user gets a new one."""
    sids: list[str] = []
    for user in ("alice", "alice", "bob"):
        tokens = await driver.sign_in(user, prompt="login")
        sids.append((await driver.verified(tokens["id_token"])).claims["sid"])
    assert sids[0] == sids[1] != sids[2]
    sessions = (await driver.http.get("/dev/state")).json()["sessions"]
    assert [one["sub"] for one in sessions] == ["bob"]


async def test_login_hint_preselects(driver: Driver) -> None:
    """The card of the hinted user is the one that has the focus."""
    page = await driver.authorize(login_hint="BOB@example.com")
    card = page.text.partition(" autofocus")[0].rpartition("<button")[2]
    assert 'value="bob"' in card
    assert " autofocus" not in (await driver.authorize(login_hint="nobody")).text


async def test_id_token_hint_of_another_user_asks(driver: Driver) -> None:
    """A hint at another user is not answered with this one's code; a foreign hint is an error."""
    bob = await driver.sign_in("bob")
    await driver.sign_in("alice", prompt="login")
    hint = bob["id_token"]
    assert landed(await driver.authorize(id_token_hint=hint, prompt="none"))["error"] == (
        "login_required"
    )
    assert (await driver.authorize(id_token_hint=hint)).status_code == 200
    assert landed(await driver.authorize(id_token_hint="x.y.z"))["error"] == "invalid_request"


async def test_form_post_answers_with_a_form(driver: Driver) -> None:
    """response_mode=form_post gives a page that posts the answer to the redirect URI."""
    page = await driver.authorize(response_mode="form_post")
    answer = await driver.choose(page, "alice")
    assert answer.status_code == 200
    assert f'action="{CALLBACK}"' in answer.text
    assert set(hidden(answer)) == {"code", "state", "iss"}
    error = await driver.authorize(response_mode="form_post", scope="email")
    assert hidden(error)["error"] == "invalid_scope"


@pytest.mark.parametrize("mode", ["jwt", "query.jwt", "form_post.jwt"])
async def test_answers_can_be_signed(driver: Driver, mode: str) -> None:
    """JARM: code and errors in one JWT for this client, in the address or in a form."""
    answers = (
        await driver.choose(await driver.authorize(response_mode=mode), "alice"),
        await driver.authorize(response_mode=mode, scope="email"),
    )
    for answer, name in zip(answers, ("code", "error"), strict=True):
        parameters = hidden(answer) if mode.startswith("form_post") else landed(answer)
        assert parameters.keys() == {"response"}
        claims = (await driver.verified(parameters["response"])).claims
        assert name in claims
        assert (claims["iss"], claims["aud"]) == (driver.issuer, driver.request()["client_id"])
        assert claims["state"] == "the state"
        answer_again = await driver.authorize(id_token_hint=parameters["response"])
        assert landed(answer_again)["error"] == "invalid_request", "it is no ID token"


async def test_a_request_may_come_as_a_form(driver: Driver) -> None:
    """The authorization endpoint takes POST as well (OpenID Connect Core 3.1.2.1)."""
    page = await driver.http.post("/authorize", data=driver.request())
    assert "code" in landed(await driver.choose(page, "carol"))


async def test_cancel_tells_the_client(driver: Driver) -> None:
    """Cancel goes back with access_denied, and nobody is signed in."""
    answer = await driver.choose(await driver.authorize(), "", cancel="1")
    parameters = landed(answer)
    assert (parameters["error"], parameters["state"]) == ("access_denied", "the state")
    assert parameters["iss"] == driver.issuer
    assert landed(await driver.authorize(prompt="none"))["error"] == "login_required"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "dance"}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "9" * 20}, "invalid_request"),
        ({"max_age": "٣"}, "invalid_request"),
        ({"nonce": "n" * 5000}, "invalid_request"),
        ({"request": "x"}, "request_not_supported"),
        ({"request_uri": "https://x.example"}, "request_uri_not_supported"),
    ],
)
async def test_faults_are_told_to_the_client(
    driver: Driver, changes: dict[str, str | None], error: str
) -> None:
    """A fault in a request with a good redirect URI goes there, with state and iss."""
    parameters = landed(await driver.authorize(**changes))
    assert parameters["error"] == error
    assert parameters["state"] == "the state"
    assert parameters["iss"] == driver.issuer
    assert "code" not in parameters


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"redirect_uri": None},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?a=2"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://localhost:9999/cb"},
        {"redirect_uri": "https://evil.example/", "scope": "x", "prompt": "none"},
    ],
)
async def test_nobody_is_sent_to_an_unregistered_address(
    driver: Driver, changes: dict[str, str | None]
) -> None:
    """Without a known client and its exact redirect URI there is a page, never a redirect."""
    answer = await driver.authorize(**changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_target_is_refused_on_a_page(driver: Driver, name: str) -> None:
    """Which of two clients or addresses is meant is not guessed."""
    pairs = [*driver.request().items(), (name, driver.request()[name])]
    answer = await driver.http.get("/authorize", params=tuple(pairs))
    assert answer.status_code == 400


async def test_a_repeated_parameter_is_told_to_the_client(driver: Driver) -> None:
    """Any other repeated parameter is invalid_request, and a repeated state is not echoed."""
    pairs = [*driver.request().items(), ("state", "another")]
    parameters = landed(await driver.http.get("/authorize", params=tuple(pairs)))
    assert parameters["error"] == "invalid_request"
    assert "state" not in parameters


async def test_a_huge_state_is_not_echoed(driver: Driver) -> None:
    """A state beyond the limit is an error that does not carry it."""
    parameters = landed(await driver.authorize(state="s" * 5000))
    assert parameters["error"] == "invalid_request"
    assert "state" not in parameters


async def test_the_form_works_in_its_own_browser_only(driver: Driver) -> None:
    """A sign-in form that was shown to one browser does nothing in another."""
    form = {**hidden(await driver.authorize()), "user": "alice"}
    async with driver.client() as stranger:
        assert (await stranger.post("/login", data=form)).status_code == 403
        await stranger.get("/authorize", params=driver.request())
        assert (await stranger.post("/login", data=form)).status_code == 403
    assert (await driver.http.post("/login", data=form)).status_code == 303


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "é"])
async def test_a_wrong_form_token_signs_nobody_in(driver: Driver, csrf: str | None) -> None:
    """Without the right token the form is refused."""
    form = {**hidden(await driver.authorize()), "user": "alice"}
    del form["csrf"]
    answer = await driver.http.post("/login", data=form if csrf is None else form | {"csrf": csrf})
    assert answer.status_code == 403
    assert landed(await driver.authorize(prompt="none"))["error"] == "login_required"


async def test_a_form_for_one_request_does_not_answer_another(driver: Driver) -> None:
    """The token of one sign-in page does not fit the request of another tab."""
    first, second = hidden(await driver.authorize()), hidden(await driver.authorize())
    mixed = {"sign_in": first["sign_in"], "csrf": second["csrf"], "user": "alice"}
    assert (await driver.http.post("/login", data=mixed)).status_code == 403
    for form in (first, second):
        answer = await driver.http.post("/login", data={**form, "user": "alice"})
        assert answer.status_code == 303


async def test_a_sign_in_page_expires(driver: Driver) -> None:
    """A page that was open for too long says so."""
    page = await driver.authorize()
    driver.clock.now += 601
    assert (await driver.choose(page, "alice")).status_code == 400


async def test_an_unknown_user_is_refused(driver: Driver) -> None:
    """Only the three users exist, by their exact name."""
    for user in ("mallory", "ALICE", ""):
        assert (await driver.choose(await driver.authorize(), user)).status_code == 400


async def test_a_session_ends_by_itself(driver: Driver) -> None:
    """After eight hours the user is asked again."""
    await driver.code()
    driver.clock.now += 8 * 3600
    assert (await driver.authorize()).status_code == 200


async def test_pages_are_strict(driver: Driver) -> None:
    """Every page has its policy, language, title and main, and a fresh nonce."""
    pages = [
        await driver.authorize(),
        await driver.http.get("/"),
        await driver.authorize(client_id="<script>alert(1)</script>"),
        await driver.http.get("/nowhere"),
    ]
    nonces = set[str]()
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action" not in policy
        assert '<html lang="en">' in page.text
        assert "<title>" in page.text
        assert page.text.count("<main") == 1
        assert "Development only" in page.text
        assert page.headers["cache-control"] == "no-store"
        nonces.add(policy.partition("'nonce-")[2].partition("'")[0])
    assert len(nonces) == len(pages)


async def test_what_a_page_repeats_is_escaped(driver: Driver) -> None:
    """Text from the request is text on the page."""
    page = await driver.authorize(scope="openid <script>alert(1)</script>")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text
