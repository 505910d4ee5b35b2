"""The content security policy of pages, and what may be added to it."""

from __future__ import annotations

import json

import pytest

from bff.spa.csp import frightening, parse_sources, policy

DEFAULT = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; media-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def directives(value: str) -> dict[str, str]:
    """Return directive and sources of a policy."""
    return {name: rest for name, _, rest in (part.partition(" ") for part in value.split("; "))}


def test_the_default_lets_nothing_in_from_elsewhere() -> None:
    """Own origin only, no inline script or style, no plug-in, never framed."""
    assert policy({}) == DEFAULT
    assert "unsafe" not in DEFAULT


def test_sources_are_added_to_what_is_there() -> None:
    """A directive keeps its own sources, or those it falls back to; `'none'` gives way."""
    added = parse_sources(
        json.dumps(
            {
                "connect-src": ["https://api.example.com", "wss://live.example.com:8443"],
                "img-src": ["https://*.example.com", "data:"],
                "frame-ancestors": ["https://portal.example.com"],
                "worker-src": ["blob:"],
            }
        )
    )
    found = directives(policy(added))
    assert found["connect-src"] == "'self' https://api.example.com wss://live.example.com:8443"
    assert found["img-src"] == "'self' data: blob: https://*.example.com"
    assert found["frame-ancestors"] == "https://portal.example.com"
    assert found["worker-src"] == "'self' blob:"
    assert found["script-src"] == "'self'"


def test_what_is_added_for_the_rest_opens_no_script() -> None:
    """`default-src` does not reach the directives that stand on their own."""
    found = directives(policy(parse_sources('{"default-src": ["https://cdn.example.com"]}')))
    assert found["script-src"] == found["style-src"] == "'self'"


def test_a_nonce_admits_scripts_and_styles() -> None:
    """It joins script and style, but for those where the operator admitted everything inline."""
    found = directives(policy({}, nonce="N"))
    assert found["script-src"] == found["style-src"] == "'self' 'nonce-N'"
    assert "nonce" not in found["img-src"]
    added = parse_sources("""{"style-src": ["'unsafe-inline'"]}""")
    assert directives(policy(added, nonce="N"))["style-src"] == "'self' 'unsafe-inline'"


def test_a_form_may_lead_to_the_providers_sign_out() -> None:
    """A form at `/bff/logout` ends there; the own origin is not named twice."""
    found = directives(policy({}, sign_out=["https://login.example.com"]))
    assert found["form-action"] == "'self' https://login.example.com"


REFUSED = [
    ("[]", "JSON object"),
    ("{", "not JSON"),
    ('{"img-src": ["a"], "img-src": ["b"]}', "twice"),
    ('{"script": ["https://a.example"]}', "'script' is no directive"),
    ('{"sandbox": ["allow-scripts"]}', "'sandbox' is no directive"),
    ('{"img-src": "https://a.example"}', "list"),
    ('{"img-src": []}', "list"),
    ('{"img-src": [1]}', "no source"),
    ("""{"img-src": ["'none'"]}""", "added to"),
    ('{"img-src": ["self"]}', "no source"),
    ('{"img-src": ["none"]}', "no source"),
    ('{"script-src": ["unsafe-inline"]}', "single quotes"),
    ('{"script-src": ["sha256-AAAA"]}', "no source"),
    ("""{"script-src": ["'nonce-abc'"]}""", "no source"),
    ("""{"script-src": ["'sha1-AAAA'"]}""", "no source"),
    ('{"img-src": ["https://a.example https://b.example"]}', "no source"),
    ('{"img-src": ["https://a.example; script-src *"]}', "no source"),
    ('{"img-src": ["https://a.example,https://b.example"]}', "no source"),
    ('{"img-src": ["https://a.example\\r\\nSet-Cookie: a=b"]}', "no source"),
    ('{"img-src": ["https://a.example\\n"]}', "no source"),
    ('{"img-src": ["ftp://a.example"]}', "no source"),
    ('{"img-src": ["https://a.*.example"]}', "no source"),
    ('{"img-src": [""]}', "no source"),
]


@pytest.mark.parametrize(("value", "told"), REFUSED)
def test_what_is_no_source_is_refused(value: str, told: str) -> None:
    """Wrong names, quotes and shapes are faults of the configuration, each told."""
    with pytest.raises(ValueError, match=told):
        parse_sources(value)


@pytest.mark.parametrize(
    "source",
    ["*", "data:", "https:", "'self'", "'wasm-unsafe-eval'", "'strict-dynamic'", "https://a.example",
     "*.example.com", "https://*.example.com:*", "localhost:3000", "wss://a.example/live/",
     "'sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc='", "https://a.example/x.js"],
)  # fmt: skip
def test_every_kind_of_source_is_taken(source: str) -> None:
    """Hosts, schemes, keywords and hashes, as the specification writes them."""
    assert parse_sources({"script-src": [source]}) == {"script-src": (source,)}


def test_what_gives_the_defence_away_is_named() -> None:
    """Inline code, `eval`, any host, and whole schemes for code; not images from anywhere."""
    added = parse_sources(
        {
            "script-src": [
                "'unsafe-eval'",
                "https:",
                "https://cdn.example.com",
                "'wasm-unsafe-eval'",
            ],
            "style-src": ["'unsafe-inline'"],
            "img-src": ["https:"],
            "connect-src": ["*"],
        }
    )
    assert frightening(added) == [
        "script-src 'unsafe-eval'",
        "script-src https:",
        "style-src 'unsafe-inline'",
        "connect-src *",
    ]
    assert frightening({}) == []
