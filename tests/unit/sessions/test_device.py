"""Where a session is used from, in words its owner recognises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.sessions.device import BROWSERS, MAX_USER_AGENT, SYSTEMS, UNKNOWN, browser_in_words

CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (CHROME.format("X11; Linux x86_64"), "Chrome on Linux"),
        (CHROME.format("Windows NT 10.0; Win64; x64"), "Chrome on Windows"),
        (CHROME.format("Linux; Android 10; K"), "Chrome on Android"),
        (CHROME.format("X11; CrOS x86_64 14541.0.0"), "Chrome on ChromeOS"),
        (CHROME.format("Windows NT 10.0") + " Edg/140.0.0.0", "Edge on Windows"),
        (CHROME.format("Windows NT 10.0") + " OPR/120.0.0.0", "Opera on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
         "Firefox on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
         "(KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
        ("curl/8.0", UNKNOWN), ("", UNKNOWN), (None, UNKNOWN),
        ("Something (Linux)", f"{UNKNOWN} on Linux"), ("Firefox/1", "Firefox"),
    ],
)  # fmt: skip
def test_browsers_are_told_apart(user_agent: str | None, words: str) -> None:
    """The common ones, also where they claim to be others."""
    assert browser_in_words(user_agent) == words


@given(st.text(max_size=2 * MAX_USER_AGENT))
def test_none_of_its_text_is_kept(user_agent: str) -> None:
    """Whatever a browser says of itself, the words are ours."""
    ours = {name for _, name in (*BROWSERS, *SYSTEMS)} | {UNKNOWN}
    assert set(browser_in_words(user_agent).split(" on ")) <= ours
