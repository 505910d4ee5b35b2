"""The command line: `serve`, `demo`, `check`, `secret` (contract, section 1)."""

from __future__ import annotations

import asyncio
import secrets as random
import sys
from typing import Annotated

import typer
import uvicorn

from bff import logs
from bff.app import read_configuration, report
from bff.server import server_options
from bff.settings import ConfigurationError

CONFIGURATION_FAULT = 2
NOT_READY = 1

app = typer.Typer(
    help="A backend-for-frontend: signs users of a single-page application in with OpenID Connect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Port = Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")]


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
    workers: Annotated[int, typer.Option(min=1, help="How many worker processes.")] = 1,
) -> None:
    """Run the service, configured by the environment and by .env in this folder."""
    try:
        settings, _ = read_configuration()
    except ConfigurationError as error:
        typer.echo(report(error), err=True)
        raise typer.Exit(CONFIGURATION_FAULT) from None
    logs.configure(settings.log_format, settings.log_level)
    uvicorn.run(
        "bff:create_app", factory=True, host=host, port=port, workers=workers, **server_options()
    )


@app.command()
def demo(port: Port = 8080) -> None:
    """Run everything on this machine: a provider, an API, an SPA, Redis and the service."""
    from bff.demo.runner import run_demo  # noqa: PLC0415 - nothing else needs the demo

    raise typer.Exit(run_demo(port))


@app.command()
def check() -> None:
    """Find out whether a login could work, and say what is in the way."""
    from bff.check import run_check  # noqa: PLC0415 - only this command looks around

    try:
        settings, _ = read_configuration()
    except ConfigurationError as error:
        typer.echo(report(error), err=True)
        raise typer.Exit(CONFIGURATION_FAULT) from None
    logs.configure("console", "error")
    raise typer.Exit(0 if asyncio.run(run_check(settings)) else NOT_READY)


@app.command()
def secret() -> None:
    """Print a fresh value for BFF_SECRET."""
    sys.stdout.write(random.token_urlsafe(48) + "\n")


def main() -> None:
    """Run the command line."""
    app()
