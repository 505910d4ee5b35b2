"""One HTML page as the browser-less user agent sees it: its text, forms and refresh.

Flow: `read(html)` parses once; `Form.entries` gives what a submission sends.
Source: HTML Living Standard, 4.10.21 (form submission) and 4.2.5.3 (`http-equiv="refresh"`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SUBMITS = frozenset({"submit", "image"})


@dataclass(slots=True)
class Button:
    """A button that submits its form."""

    name: str
    value: str
    text: str = ""
    action: str | None = None


@dataclass(slots=True)
class Form:
    """A form, with the buttons and fields that belong to it wherever they stand."""

    id: str
    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    buttons: list[Button] = field(default_factory=list[Button])

    def button(self, label: str | None = None) -> Button | None:
        """The button that shows or means the label; without one the form's first, if any.

        Raises LookupError when no button has that label.
        """
        if label is None:
            return self.buttons[0] if self.buttons else None
        for button in self.buttons:
            if label in {button.value, button.name} or label.lower() in button.text.lower():
                return button
        raise LookupError(f"no button {label!r} among {[b.text or b.value for b in self.buttons]}")

    def entries(self, fields: Mapping[str, str], button: Button | None) -> list[tuple[str, str]]:
        """What is sent: the form's own fields with `fields` in their place, and the button."""
        entries = [(name, fields.get(name, value)) for name, value in self.fields]
        present = {name for name, _ in entries}
        entries += [(name, value) for name, value in fields.items() if name not in present]
        if button is not None and button.name:
            entries.append((button.name, button.value))
        return entries


@dataclass(slots=True)
class Content:
    """What `read` found."""

    title: str = ""
    text: str = ""
    forms: list[Form] = field(default_factory=list[Form])
    links: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refresh: tuple[float, str] | None = None
    referrer_policy: str = ""


def read(html: str) -> Content:
    """Parse a page. `refresh` is seconds and URL; an empty URL means the page itself."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.finish()


def refresh_target(value: str) -> tuple[float, str]:
    """Seconds and URL of a `refresh` value such as `0; url=/next`."""
    seconds, _, rest = value.partition(";")
    target = rest.strip()
    if target.lower().startswith("url"):
        target = target[3:].lstrip().removeprefix("=").strip()
    return float(seconds.strip() or "0"), target.strip("'\"")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._content = Content()
        self._open: Form | None = None
        self._owned: list[tuple[str, tuple[str, str] | Button]] = []
        self._button: Button | None = None
        self._link: tuple[str, str] | None = None
        self._select: tuple[str, str | None, str | None] | None = None
        self._silent: str | None = None
        self._words: list[str] = []
        self._in_title = False

    def finish(self) -> Content:
        forms = {form.id: form for form in self._content.forms if form.id}
        for owner, control in self._owned:
            form = forms.get(owner)
            if form is not None:
                self._add(form, control)
        self._content.text = " ".join(" ".join(self._words).split())
        return self._content

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {name: value or "" for name, value in attrs}
        match tag:
            case "script" | "style":
                self._silent = tag
            case "title":
                self._in_title = True
            case "meta" if a.get("http-equiv", "").lower() == "refresh":
                self._content.refresh = refresh_target(a.get("content", ""))
            case "meta" if a.get("name", "").lower() == "referrer":
                self._content.referrer_policy = a.get("content", "")
            case "a" if "href" in a:
                self._link = (a["href"], "")
            case "form":
                method = a.get("method", "get").upper()
                self._open = Form(a.get("id", ""), a.get("action", ""), method)
                self._content.forms.append(self._open)
            case "input":
                self._input(a)
            case "button" if a.get("type", "submit").lower() == "submit" and "disabled" not in a:
                self._button = Button(
                    a.get("name", ""), a.get("value", ""), "", a.get("formaction")
                )
                self._own(a, self._button)
            case "select":
                self._select = (a.get("name", ""), None, a.get("form"))
            case "option" if self._select is not None:
                name, chosen, owner = self._select
                if chosen is None or "selected" in a:
                    self._select = (name, a.get("value", ""), owner)
            case "textarea":
                self._own(a, (a.get("name", ""), ""))
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        match tag:
            case "script" | "style":
                self._silent = None
            case "title":
                self._in_title = False
            case "form":
                self._open = None
            case "button":
                self._button = None
            case "a" if self._link is not None:
                self._content.links.append(self._link)
                self._link = None
            case "select" if self._select is not None:
                name, chosen, owner = self._select
                self._own({"form": owner} if owner else {}, (name, chosen or ""))
                self._select = None
            case _:
                pass

    def handle_data(self, data: str) -> None:
        if self._silent is not None:
            return
        if self._in_title:
            self._content.title += data.strip()
            return
        self._words.append(data)
        if self._button is not None:
            self._button.text = f"{self._button.text} {data.strip()}".strip()
        if self._link is not None:
            self._link = (self._link[0], f"{self._link[1]} {data.strip()}".strip())

    def _input(self, a: dict[str, str]) -> None:
        kind = a.get("type", "text").lower()
        if "disabled" in a:
            return
        if kind in SUBMITS:
            self._own(a, Button(a.get("name", ""), a.get("value", ""), a.get("value", "Submit")))
        elif kind in {"checkbox", "radio"}:
            if "checked" in a:
                self._own(a, (a.get("name", ""), a.get("value", "on")))
        elif kind not in {"button", "reset", "file"}:
            self._own(a, (a.get("name", ""), a.get("value", "")))

    def _own(self, a: dict[str, str], control: tuple[str, str] | Button) -> None:
        if "form" in a:
            self._owned.append((a["form"], control))
        elif self._open is not None:
            self._add(self._open, control)

    def _add(self, form: Form, control: tuple[str, str] | Button) -> None:
        if isinstance(control, Button):
            form.buttons.append(control)
        elif control[0]:
            form.fields.append(control)
