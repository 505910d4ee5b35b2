"""Schemathesis on the description of the pages: made-up input, right and wrong in form.

No API documentation is served, and the handlers read their own parameters; so what each route
takes is added here, from the contract's table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance

from bff.pages import create_pages
from bff.sessions.session import FIRST_PROVIDER
from bff.settings import Settings
from tests.flows.bad_requests import EVERYTHING, FORMS, QUERY
from tests.support.site import Site, open_site

CONTENT: dict[str, dict[str, Any]] = {
    "application/json": {}, "application/problem+json": {}, "text/html; charset=utf-8": {},
    "text/javascript; charset=utf-8": {}, "text/plain; charset=utf-8": {},
}  # fmt: skip

TEXT = {"type": "string", "maxLength": 200}
SPECIAL: dict[str, dict[str, Any]] = {
    "max_age": {"type": "integer", "minimum": 0, "maximum": 86_400},
    "slide": {"type": "boolean"},
    "prompt": {"enum": ["none", "login", "consent", "select_account"]},
    "iss": {"type": "string", "format": "uri"},
}


def description() -> dict[str, Any]:
    """Return the OpenAPI description of all pages, with what the contract says they take."""
    settings = Settings.load(
        Path("/nowhere/.env"),
        base_url="http://127.0.0.1:1",
        issuer="http://127.0.0.1:2",
        client_id="spa",
        client_secret="hush",
        **{name.removeprefix("BFF_").lower(): value for name, value in EVERYTHING.items()},
    )
    party = MagicMock()
    party.provider.registration.name = FIRST_PROVIDER
    # Nothing is asked of it but its settings, and where the providers answer.
    pages = create_pages(MagicMock(settings=settings, parties=[party]))
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # GET and HEAD as one
        raw: dict[str, Any] = pages.openapi()
    for path, methods in raw["paths"].items():
        methods.pop("head", None)
        for method, operation in methods.items():
            names = QUERY.get(path, ()) if method == "get" else ()
            operation["parameters"] = [
                {"name": name, "in": "query", "schema": SPECIAL.get(name, TEXT)} for name in names
            ] + [parameter for parameter in operation.get("parameters", []) if "{" in path]
            operation["responses"] = {"default": {"description": "any", "content": CONTENT}}
            if method == "post" and FORMS.get(path):
                fields = dict.fromkeys(FORMS[path], TEXT)
                form = {"schema": {"type": "object", "properties": fields}}
                operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": form}}
    return raw


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with every optional route switched on."""
    with open_site(tmp_path_factory.mktemp("site"), EVERYTHING) as site:
        yield site


FOUND: list[Any] = list(openapi.from_dict(description()).get_all_operations())
OPERATIONS: list[APIOperation[Any, Any, Any, Any]] = [found.ok() for found in FOUND]


def test_every_route_of_the_contract_is_described() -> None:
    """What the pages offer is what the table above speaks of, or later rooms."""
    described = {operation.path for operation in OPERATIONS}
    assert {"/bff/login", "/bff/callback", "/bff/session", "/bff/logout"} <= described
    assert all(path.startswith("/bff/") for path in described)


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(operation, mode, id=f"{operation.method} {operation.path} {mode.value}")
        for operation in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation.query or operation.body
    ],
)
def test_made_up_input_is_answered_in_order(
    site: Site, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    """Never 5xx, and always of a described content type."""
    with requests.Session() as session:

        @settings(
            max_examples=30 if operation.query or operation.body else 3,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(data=st.data())
        def fuzz(data: st.DataObject) -> None:
            case: Case[Any] = data.draw(operation.as_strategy(generation_mode=mode))
            answer = case.call(
                base_url=site.base_url, session=session, timeout=10, allow_redirects=False
            )
            checks: list[Any] = [not_a_server_error]
            if answer.content:
                checks.append(content_type_conformance)
            case.validate_response(answer, checks=checks)

        fuzz()
