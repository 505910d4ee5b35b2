"""bff: a backend-for-frontend that keeps every token of a single-page application on the server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["create_app"]


def create_app() -> ASGIApp:
    """Make the service from the environment, for ``uvicorn --factory bff:create_app``.

    Raises SystemExit with code 2, after reporting every fault, where the configuration is wrong.
    """
    import_module("bff.logs")  # the first to load structlog: it leaves out what nobody needs
    from bff.app import create_app as build  # noqa: PLC0415 - keeps `import bff` light

    return build()
