"""Where a session is used from, in words its owner recognises. Pure.

Shown to the user beside their sessions, and never decided upon: an address changes on every train
ride, and a browser says of itself what it likes.
"""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "Unknown browser"
MAX_USER_AGENT = 512

# The first that is named wins: Edge, Opera and Samsung also say Chrome, and Chrome says Safari.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)


class Device(NamedTuple):
    """The address that a session was made from, and its browser, such as `Firefox on Linux`."""

    address: str
    browser: str


def browser_in_words(user_agent: str | None) -> str:
    """Return what a `User-Agent` says, in a few words of our own: none of its text is kept."""
    text = (user_agent or "")[:MAX_USER_AGENT]
    browser = next((name for mark, name in BROWSERS if mark in text), None)
    system = next((name for mark, name in SYSTEMS if mark in text), None)
    if browser is None:
        return UNKNOWN if system is None else f"{UNKNOWN} on {system}"
    return browser if system is None else f"{browser} on {system}"
