"""What the user agent remembers: every request, and the page that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.support.page import Content, Form, read

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2


class TooManyStepsError(Exception):
    """A chain of redirects and refreshes that does not end."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request and the head of its answer."""

    method: str
    url: str
    sent: httpx2.Headers
    status: int
    headers: httpx2.Headers


@dataclass(frozen=True, slots=True)
class Page:
    """What the window shows."""

    url: str
    status: int
    headers: httpx2.Headers
    text: str
    content: Content

    @classmethod
    def of(cls, url: str, response: httpx2.Response) -> Self:
        """The page an answer makes; one that is not HTML has no forms, links or refresh."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        content = read(response.text) if kind == "text/html" else Content()
        return cls(url, response.status_code, response.headers, response.text, content)

    @property
    def forms(self) -> list[Form]:
        """The page's forms in their order."""
        return self.content.forms

    def form(self, wanted: int | Callable[[Form], bool]) -> Form:
        """The form at that place, or the first that fits. Raises LookupError when none does."""
        for place, form in enumerate(self.forms):
            if place == wanted if isinstance(wanted, int) else wanted(form):
                return form
        raise LookupError(f"no such form on {self.path}: {self.content.text[:200]!r}")

    @property
    def referrer_policy(self) -> str:
        """What the page itself says, else what its answer said."""
        return self.content.referrer_policy or self.headers.get("referrer-policy", "")

    @property
    def path(self) -> str:
        """Path of the address bar, without query."""
        return urlsplit(self.url).path
