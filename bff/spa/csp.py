"""The content security policy of the application's pages, and what an operator adds to it. Pure.

The policy lets a page load everything from its own origin and nothing from elsewhere, and runs no
script and no style that stands in the page itself. Small files that bundlers write into others
(`data:`) show as images, fonts and sounds. BFF_SPA_CSP adds sources to directives; nothing in it
takes one away, so that a typing error never leaves a directive empty.

Source: Content Security Policy Level 3, sections 2.3 (sources) and 6 (directives).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from bff.values import parse_json

Sources = Mapping[str, tuple[str, ...]]

_SELF = ("'self'",)
_NONE = ("'none'",)
DEFAULT: Sources = {
    "default-src": _SELF,
    "script-src": _SELF,
    "style-src": _SELF,
    "img-src": ("'self'", "data:", "blob:"),
    "font-src": ("'self'", "data:"),
    "media-src": ("'self'", "data:", "blob:"),
    "object-src": _NONE,
    "base-uri": _SELF,
    "form-action": _SELF,
    "frame-ancestors": _NONE,
}
_FURTHER = {
    "connect-src": "default-src",
    "frame-src": "default-src",
    "child-src": "default-src",
    "worker-src": "script-src",
    "manifest-src": "default-src",
    "script-src-elem": "script-src",
    "script-src-attr": "script-src",
    "style-src-elem": "style-src",
    "style-src-attr": "style-src",
}
_NONCED = ("script-src", "style-src", "script-src-elem", "style-src-elem")
_KEYWORDS = frozenset(
    {
        "'self'", "'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "'wasm-unsafe-eval'",
        "'strict-dynamic'", "'report-sample'", "'inline-speculation-rules'",
    }
)  # fmt: skip
_FRIGHTENING = frozenset({"'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "*"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SOURCE = re.compile(
    r"\*"
    r"|[A-Za-z][A-Za-z0-9+.-]*:"
    r"|'sha(?:256|384|512)-[A-Za-z0-9+/_-]+={0,2}'"
    r"|(?:(?:https?|wss?)://)?(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::(?:[0-9]{1,5}|\*))?"
    r"(?:/[A-Za-z0-9._~!$&()*+=:@%/-]*)?"
)
_BARE = re.compile(r"none$|nonce-|sha(256|384|512)-")
_EXECUTES = frozenset(
    {"default-src", "script-src", "script-src-elem", "worker-src", "object-src", "base-uri"}
)


def parse_sources(value: object) -> Sources:
    """Return what BFF_SPA_CSP adds: directive to sources. Raises ValueError for the operator."""
    given = cast("dict[str, object]", parse_json(value, dict, "a JSON object"))
    return {directive: _sources(directive, member) for directive, member in given.items()}


def _sources(directive: str, member: object) -> tuple[str, ...]:
    if directive not in DEFAULT and directive not in _FURTHER:
        known = ", ".join((*DEFAULT, *_FURTHER))
        raise ValueError(f"{directive!r} is no directive of it; known are {known}")
    if not isinstance(member, list | tuple) or not member:
        raise ValueError(f"{directive} must be a list of sources")
    sources = cast("list[object]", member)
    for source in sources:
        if source == "'none'":
            raise ValueError(f"{directive} can only be added to; 'none' takes away")
        if not isinstance(source, str) or not _is_source(source):
            raise ValueError(
                f"{directive} holds {source!r}, which is no source; keywords stand in single "
                "quotes, hosts without"
            )
    return tuple(dict.fromkeys(cast("list[str]", sources)))


def _is_source(source: str) -> bool:
    if _BARE.match(source) or f"'{source}'" in _KEYWORDS:
        return False  # a keyword without its quotes would be the name of a host
    return source in _KEYWORDS or _SOURCE.fullmatch(source) is not None


def policy(added: Sources, *, nonce: str | None = None, sign_out: Sequence[str] = ()) -> str:
    """Return the value of `Content-Security-Policy`.

    `nonce` admits the scripts and styles of the page that carry it. `sign_out` are the origins of
    providers' sign-outs, where a form at `/bff/logout` leads: browsers follow no form elsewhere.
    """
    merged = dict(DEFAULT)
    for directive, sources in added.items():
        base = merged.get(directive) or merged[_FURTHER[directive]]
        kept = tuple(source for source in base if source != "'none'")
        merged[directive] = tuple(dict.fromkeys((*kept, *sources)))
    if sign_out:
        merged["form-action"] = tuple(dict.fromkeys((*merged["form-action"], *sign_out)))
    if nonce is not None:
        for directive in _NONCED:
            # A nonce would switch 'unsafe-inline' off, which the operator has asked for.
            if directive in merged and "'unsafe-inline'" not in merged[directive]:
                merged[directive] = (*merged[directive], f"'nonce-{nonce}'")
    return "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in merged.items())


def frightening(added: Sources) -> list[str]:
    """Return the additions that give away what the policy is for, as `directive source`.

    Inline script and style, `eval`, any host, and a whole scheme where it can bring code.
    """
    return [
        f"{directive} {source}"
        for directive, sources in added.items()
        for source in sources
        if source in _FRIGHTENING or (directive in _EXECUTES and _SCHEME.fullmatch(source))
    ]
