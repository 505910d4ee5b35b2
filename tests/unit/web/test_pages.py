"""How our own answers look: what their headers say, and that nothing in them can be made to run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from bff.web.pages import HERE, hop, json_answer, page, redirect, timestamp, wants_page

VALUES: dict[str, Any] = {
    "title": "Title", "message": "Message", "action_label": "Go", "action_url": "/", "code": "x",
    "request_id": "r", "status": 400, "return_to": "/orders", "user_name": "Alice",
    "origin": "https://app.example.com", "choices": [("Google", "/bff/login?provider=google")],
}  # fmt: skip
TEMPLATES = sorted(path.name for path in (HERE / "templates").glob("*.html"))
PAGES = [name for name in TEMPLATES if name != "base.html"]


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        void = {"meta", "link", "input", "br", "path", "circle", "img", "hr", "rect"}
        if tag not in void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def body(answer: Any) -> str:
    """Return an answer's body as text."""
    return bytes(answer.body).decode()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_whole_and_runs_nothing(name: str) -> None:
    """Valid outline, a language, one title, one main; no handler, nothing foreign.

    No script either, but the one under a nonce by which a silent sign-in tells its opener.
    """
    answer = page(name, script=name == "silent.html", **VALUES)
    outline = Outline(body(answer))
    assert outline.open == []
    assert outline.of("html")[0]["lang"] == "en"
    assert len(outline.of("title")) == len(outline.of("main")) == len(outline.of("h1")) == 1
    assert outline.of("iframe") == outline.of("object") == []
    nonce = re.search(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert nonce is not None
    assert {style["nonce"] for style in outline.of("style")} == {nonce[1]}
    assert outline.of("script") == ([{"nonce": nonce[1]}] if name == "silent.html" else [])
    for _, attributes in outline.tags:
        assert "style" not in attributes
        assert not any(attribute.startswith("on") for attribute in attributes)
        for attribute in ("src", "href", "action"):
            value = attributes.get(attribute)
            assert value is None or value.startswith(("/", "data:", "#")), value


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_its_headers(name: str) -> None:
    """Never cached, never framed, no referrer, nothing but its own style."""
    headers = page(name, 418, **VALUES).headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy


def test_every_page_has_its_own_nonce() -> None:
    """A nonce is used once."""
    policies = {page("logout.html").headers["content-security-policy"] for _ in range(5)}
    assert len(policies) == 5


def test_a_page_may_be_framed_by_those_who_are_named() -> None:
    """The front-channel page is, by the provider and nobody else."""
    answer = page("signed_out.html", ancestors="https://login.example.com", **VALUES)
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://login.example.com")
    assert "x-frame-options" not in answer.headers


def test_headers_can_be_added_and_statuses_chosen() -> None:
    """What an answer needs beside the usual."""
    answer = page("logout.html", 404, headers={"Retry-After": "5"})
    assert answer.status_code == 404
    assert answer.headers["retry-after"] == "5"


def test_a_page_with_a_value_missing_is_a_fault_of_ours() -> None:
    """It is found when it is made, not by the user."""
    with pytest.raises(UndefinedError):
        page("error.html")


NASTY = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onclick='x", "</title>",
     "{{ 7 * 7 }}", "{% raw %}", "&amp;", "javascript:alert(1)", "</style>", "<!--", "\x00"]
)  # fmt: skip


@given(NASTY, NASTY)
def test_no_value_breaks_out_of_its_place(title: str, message: str) -> None:
    """Whatever a value holds, the page keeps its outline, and shows the value as text."""
    values = {**VALUES, "title": title, "message": message, "user_name": message}
    plain = [tag for tag, _ in Outline(body(page("error.html", **VALUES))).tags]
    outline = Outline(body(page("error.html", **values)))
    assert [tag for tag, _ in outline.tags] == plain
    if "\x00" not in message and "\r" not in message:
        assert message in outline.text
    welcome = Outline(body(page("welcome.html", **values)))
    assert welcome.of("script") == welcome.of("img") == []


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.none(), max_size=4))
def test_json_says_what_it_was_given(value: dict[str, Any]) -> None:
    """In UTF-8, as JSON of its kind, cached by nobody and embedded by no other origin."""
    answer = json_answer(value, 201, headers={"X-A": "b"}, media_type="application/x+json")
    assert json.loads(bytes(answer.body)) == value
    assert answer.status_code == 201
    headers = answer.headers
    assert headers["content-type"] == "application/x+json"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-a"] == "b"


def test_json_may_say_that_it_can_be_cached() -> None:
    """A header that is given wins: public keys are for everybody."""
    answer = json_answer({}, headers={"Cache-Control": "public, max-age=300"})
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["content-type"] == "application/json"


def test_a_redirect_leaves_nothing_behind() -> None:
    """303, so that a form is not sent again; no body, no referrer, not cached."""
    answer = redirect("https://login.example.com/?a=b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "https://login.example.com/?a=b"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert bytes(answer.body) == b""
    assert redirect("/", status=307).status_code == 307


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"sec-fetch-mode": "navigate"}, True),
        ({"sec-fetch-mode": "navigate", "accept": "*/*"}, True),
        ({"sec-fetch-mode": "cors", "accept": "text/html"}, False),
        ({"sec-fetch-mode": "no-cors", "accept": "text/html"}, False),
        ({"sec-fetch-mode": ""}, False),
        ({"accept": "text/html,application/xhtml+xml;q=0.9"}, True),
        ({"accept": "application/json"}, False),
        ({"accept": "*/*"}, False),
        ({}, False),
    ],
)
def test_who_gets_a_page(headers: dict[str, str], *, wanted: bool) -> None:
    """A browser that navigates; without Sec-Fetch-Mode, whoever asks for HTML (contract, 6)."""
    assert wants_page(headers) is wanted


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_800_000_000.999, "2027-01-15T08:00:00Z")],
)
def test_times_are_written_in_utc(seconds: float, text: str) -> None:
    """RFC 3339, to the second."""
    assert timestamp(seconds) == text


@given(
    st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.sampled_from("\x01\x02/a<>&\"'"))
)
def test_the_page_that_leads_on_is_its_template(return_to: str) -> None:
    """To the letter, headers too, but for the nonce."""
    answers = hop(return_to), page("hop.html", return_to=return_to)
    nonces = [
        answer.headers["content-security-policy"].split("'")[3].removeprefix("nonce-")
        for answer in answers
    ]
    bodies = [
        bytes(answer.body).decode("utf-8").replace(nonce, "x")
        for answer, nonce in zip(answers, nonces, strict=True)
    ]
    heads = [
        [(name, value.replace(nonce, "x")) for name, value in answer.headers.items()]
        for answer, nonce in zip(answers, nonces, strict=True)
    ]
    assert bodies[0] == bodies[1]
    assert heads[0] == heads[1]
