"""What a browser is told when something is wrong: the same to all, and nothing of our inside."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import STATUS, Code, Problem, ProviderUnavailableError, StoreUnavailableError
from bff.web.problems import WORDS, problem_answer

NAVIGATION = {"sec-fetch-mode": "navigate"}
SCRIPT = {"sec-fetch-mode": "cors", "accept": "application/json"}

CONTRACT = {
    "unauthenticated": 401, "csrf": 403, "forbidden": 403, "step_up_required": 401,
    "bad_path": 400, "login_failed": 400, "login_expired": 400, "rate_limited": 429,
    "upstream_unavailable": 502, "upstream_timeout": 504, "provider_unavailable": 503,
    "store_unavailable": 503, "not_found": 404, "method_not_allowed": 405, "bad_request": 400,
    "too_large": 413,
}  # fmt: skip


def answer(problem: Problem, headers: dict[str, str], **changes: str) -> Any:
    """Return the answer to a GET for /orders."""
    values = {"request_id": "r-1", "path": "/orders", "method": "GET", **changes}
    return problem_answer(problem, headers, **values)


def body(found: Any) -> str:
    """Return an answer's body as text."""
    return bytes(found.body).decode()


def test_codes_are_those_of_the_contract() -> None:
    """With their statuses; what we add stands beside them."""
    assert CONTRACT.items() <= {code.value: STATUS[code] for code in Code}.items()
    assert STATUS.keys() == WORDS.keys() == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_problem_details(code: Code) -> None:
    """RFC 9457, with a stable code, a sentence, and the request id for the log."""
    found = answer(Problem(code, "the_secret_reason"), SCRIPT)
    assert found.status_code == STATUS[code]
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["cache-control"] == "no-store"
    said = json.loads(found.body)
    assert said["type"] == "about:blank"
    assert said["status"] == STATUS[code]
    assert said["code"] == code.value
    assert said["title"]
    assert said["detail"]
    assert said["request_id"] == "r-1"
    assert ("login_url" in said) == (STATUS[code] == 401)
    assert "the_secret_reason" not in body(found)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_a_page(code: Code) -> None:
    """Title, what happened, the way on, and what to say when asking for help."""
    found = answer(Problem(code, "the_secret_reason"), NAVIGATION)
    text = html.unescape(body(found))
    assert found.status_code == STATUS[code]
    assert found.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    for words in (WORDS[code].title, WORDS[code].message, WORDS[code].action_label, code.value,
                  str(STATUS[code]), "r-1"):  # fmt: skip
        assert words in text
    assert "the_secret_reason" not in text


@pytest.mark.parametrize("headers", [NAVIGATION, SCRIPT])
def test_a_problem_may_bring_its_own_words_status_and_headers(headers: dict[str, str]) -> None:
    """What it says goes to the browser, and its headers with it."""
    problem = Problem(
        Code.TOO_LARGE, "r", detail="The header is too large.", status=431,
        headers=(("Retry-After", "7"),),
    )  # fmt: skip
    found = answer(problem, headers)
    assert found.status_code == 431
    assert found.headers["retry-after"] == "7"
    assert "The header is too large." in body(found)
    assert "431" in body(found)


@pytest.mark.parametrize("headers", [NAVIGATION, SCRIPT])
def test_caches_are_told_that_the_answer_differs(headers: dict[str, str]) -> None:
    """A page and problem details come from the same address."""
    vary = answer(Problem(Code.NOT_FOUND, "r"), headers).headers["vary"]
    assert "Accept" in vary
    assert "Sec-Fetch-Mode" in vary


def test_a_script_is_told_where_to_sign_in() -> None:
    """A 401 carries `login_url`; the route's own, if it has one."""
    assert json.loads(answer(Problem(Code.UNAUTHENTICATED, "r"), SCRIPT).body)["login_url"] == (
        "/bff/login"
    )
    problem = Problem(Code.STEP_UP_REQUIRED, "r", login_url="/bff/login?acr_values=gold")
    assert json.loads(answer(problem, SCRIPT).body)["login_url"] == problem.login_url


@pytest.mark.parametrize(
    ("login_url", "path", "method", "link"),
    [
        (None, "/orders", "GET", "/bff/login?return_to=/orders"),
        ("/bff/login?acr_values=gold", "/orders", "GET",
         "/bff/login?acr_values=gold&return_to=/orders"),
        (None, "/a%20b", "GET", "/bff/login?return_to=/a%2520b"),
        (None, "/a&prompt=none", "GET", "/bff/login?return_to=/a%26prompt%3Dnone"),
        (None, "/orders", "POST", "/bff/login"),
    ],
)  # fmt: skip
def test_signing_in_leads_back(login_url: str | None, path: str, method: str, link: str) -> None:
    """The page's link returns to where a navigation was going; not to a form that was sent."""
    problem = Problem(Code.UNAUTHENTICATED, "r", login_url=login_url)
    found = answer(problem, NAVIGATION, path=path, method=method)
    assert f'href="{html.escape(link)}"' in body(found)


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_no_path_or_id_breaks_out_of_the_page(path: str, request_id: str) -> None:
    """What a stranger sent stands in the page as text."""
    problem = Problem(Code.UNAUTHENTICATED, "r")
    found = body(answer(problem, NAVIGATION, path=path, request_id=request_id))
    assert found.count("<") == body(answer(problem, NAVIGATION)).count("<")


def test_what_is_away_comes_back() -> None:
    """503 says when to try again."""
    for problem in (StoreUnavailableError("r"), ProviderUnavailableError("r")):
        found = answer(problem, SCRIPT)
        assert found.status_code == 503
        assert int(found.headers["retry-after"]) > 0
        assert str(problem) == f"{problem.code}: r"
