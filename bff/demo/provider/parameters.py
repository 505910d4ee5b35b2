"""Request parameters as RFC 6749 section 3.1 wants them: one value each, empty means absent.

Only `resource` may come more than once (RFC 8707 section 2).

Everything is limited before it is parsed, so that no input is too large or too odd for an answer
of 4xx: size of query and body, number of parameters, strict UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BYTES = 64 * 1024
MAX_PARAMETERS = 64
FORM = "application/x-www-form-urlencoded"


class BadParametersError(Exception):
    """The query or form cannot be read at all. `status` is 400 or 413."""

    def __init__(self, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Parameters:
    """The values, and the names that came more than once (those have no value)."""

    values: dict[str, str]
    repeated: frozenset[str] = frozenset()
    resources: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """Return the one value of `name`, or None where it is absent, empty or repeated."""
        return self.values.get(name)


def parse_parameters(raw: bytes) -> Parameters:
    """Read a query or a urlencoded form. Raises BadParametersError."""
    if len(raw) > MAX_BYTES:
        raise BadParametersError("The request is too large.", 413)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError as error:
        raise BadParametersError("The request cannot be read.") from error
    resources = tuple(value for name, value in pairs if name == "resource" and value)
    pairs = [(name, value) for name, value in pairs if name != "resource"]
    names = [name for name, _ in pairs]
    repeated = frozenset(name for name in names if names.count(name) > 1)
    values = {name: value for name, value in pairs if value and name not in repeated}
    return Parameters(values, repeated, resources)


async def read_query(request: Request) -> Parameters:
    """Read the query string. Raises BadParametersError."""
    raw: bytes = request.scope["query_string"]
    return parse_parameters(raw)


async def read_form(request: Request) -> Parameters:
    """Read a urlencoded body. Raises BadParametersError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != FORM:
        raise BadParametersError(f"The body must be {FORM}.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise BadParametersError("The request is too large.", 413)
    except ClientDisconnect as error:
        raise BadParametersError("The client went away.") from error
    return parse_parameters(bytes(body))


async def read_query_or_form(request: Request) -> Parameters:
    """Read the query of a GET, the form of a POST. Raises BadParametersError."""
    return await (read_form(request) if request.method == "POST" else read_query(request))
