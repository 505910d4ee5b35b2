from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bff.demo.provider.parameters import BadParametersError, parse_parameters
from tests.unit.demo.driver import SECRET, Driver, basic, make_driver

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
POSTS = ["/authorize", "/login", "/token", "/revoke", "/logout", "/logout/confirm", "/dev/logout"]
# To sign out when nobody is signed in does no harm.
HARMLESS = {"/logout"}
GETS = ["/authorize", "/logout"]
QUERIES = [
    b"", b"=", b"&&&", b"%", b"%zz=%zz", b"a=%ff", b"client_id=%00", b"x" * 70_000,
    b"&".join(b"a%d=1" % number for number in range(100)), b"client_id=a&client_id=b",
    b"redirect_uri=%0d%0aSet-Cookie:x", b"csrf=%F0%9F%98%80&sign_in=%F0%9F%98%80",
    b"id_token_hint=" + b"." * 5000, b"sub=%F0%9F%98%80", b"client_id=%ED%A0%80",
    b"\xff=\xff",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", QUERIES)
async def test_no_form_breaks_an_endpoint(driver: Driver, path: str, body: bytes) -> None:
    """Whatever is posted, the answer is a plain one, 4xx or a page."""
    headers = FORM | basic("app:1", SECRET)
    answer = await driver.http.post(path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500 or (path in HARMLESS and answer.status_code == 200)


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("query", QUERIES[:-1])
async def test_no_query_breaks_an_endpoint(driver: Driver, path: str, query: bytes) -> None:
    """Whatever is asked, nobody is sent anywhere."""
    answer = await driver.http.get(f"{path}?{query.decode()[:60_000]}")
    assert 200 <= answer.status_code < 500
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/token", "/revoke", "/login", "/logout/confirm"])
@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/form-data", "é"])
async def test_only_urlencoded_forms_are_read(
    driver: Driver, path: str, content_type: str | None
) -> None:
    """A body of another type is a bad request."""
    headers = {} if content_type is None else {b"Content-Type": content_type.encode()}
    answer = await driver.http.post(path, content=b"a=1", headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/token", "/login"])
async def test_a_huge_body_is_413(driver: Driver, path: str) -> None:
    """A body beyond the limit is refused as too large."""
    answer = await driver.http.post(path, content=b"a" * 70_000, headers=FORM)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/token"),
        ("GET", "/login"),
        ("POST", "/jwks"),
        ("PUT", "/"),
        ("DELETE", "/userinfo"),
    ],
)
async def test_a_wrong_method_is_405(driver: Driver, method: str, path: str) -> None:
    """A method that an endpoint does not have is named as that."""
    answer = await driver.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]


async def test_repeated_parameters_are_refused(driver: Driver) -> None:
    """A parameter that comes twice is never guessed at."""
    doubled = b"grant_type=client_credentials&grant_type=client_credentials"
    headers = FORM | basic("app:1", SECRET)
    answer = await driver.http.post("/token", content=doubled, headers=headers)
    assert answer.json()["error"] == "invalid_request"
    twice = b"client_id=app&client_id=app&client_secret=x"
    answer = await driver.http.post("/token", content=twice, headers=FORM)
    assert answer.json()["error"] == "invalid_request"
    assert (await driver.http.get("/logout?state=1&state=2")).status_code == 400


@pytest.mark.parametrize(
    "cookie", ["dev-provider-sso=x", "dev-provider-form=\xff", "a", "=;=", ";"]
)
async def test_odd_cookies_are_no_session(driver: Driver, cookie: str) -> None:
    """A cookie that is not ours signs nobody in and breaks nothing."""
    answer = await driver.http.get(
        "/authorize", params=driver.request(), headers={b"Cookie": cookie.encode("latin-1")}
    )
    assert answer.status_code == 200


@given(st.binary(max_size=300))
def test_any_bytes_are_parameters_or_refused(raw: bytes) -> None:
    """Parsing gives one value a name, or says that it cannot."""
    try:
        parameters = parse_parameters(raw)
    except BadParametersError:
        return
    assert all(parameters.values.values())
    assert not parameters.repeated & parameters.values.keys()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(
            ["response_type", "scope", "state", "nonce", "prompt", "max_age", "acr_values",
             "code_challenge", "code_challenge_method", "response_mode", "login_hint"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    )
)  # fmt: skip
async def test_any_request_is_answered_as_it_should(changes: dict[str, str]) -> None:
    """Whatever a client asks: its page, or its own redirect URI with state and iss."""
    driver = _shared_driver()
    async with driver.client() as http:
        answer = await http.get("/authorize", params=driver.request() | changes)
    assert answer.status_code in {200, 303}
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("http://localhost:8080/bff/callback?error=")


@cache
def _shared_driver() -> Driver:
    return make_driver()
