"""Discovery documents as providers published them, and a scripted provider that plays one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.scripted_provider import DISCOVERY, Answer, ScriptedProvider

FOLDER = Path(__file__).parents[1] / "fixtures" / "providers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    """Return a recorded document."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return document


def play(provider: ScriptedProvider, name: str, issuer_path: str | None = None) -> None:
    """Have a provider publish a recorded document, all hosts in it replaced by its own.

    `issuer_path`: where the document is, if that is not under the issuer that it names.
    """
    origin = provider.issuer
    document: dict[str, Any] = {
        member: _moved(value, origin) for member, value in recorded(name).items()
    }
    path = urlsplit(str(document["issuer"])).path if issuer_path is None else issuer_path
    provider.issuer = origin + path
    provider.answers[path.removesuffix("/") + DISCOVERY] = Answer(body=document)
    provider.answers[urlsplit(str(document["jwks_uri"])).path] = lambda _: Answer(
        body={"keys": provider.keys}
    )


def _moved(value: object, origin: str) -> object:
    if not isinstance(value, str) or not value.startswith("https://"):
        return value
    return origin + value.removeprefix("https://" + urlsplit(value).netloc)
