"""The command line: `serve`, `demo`, `check`, `secret`, `keys`, `sessions`."""

from __future__ import annotations

import asyncio
import json
import secrets as random
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, TypeVar

import typer
import uvicorn

from bff import logs
from bff.configuration import read_configuration, report
from bff.errors import StoreUnavailableError
from bff.faults import ConfigurationError
from bff.server import server_options
from bff.settings import Settings

CONFIGURATION_FAULT = 2
NOT_READY = 1
T = TypeVar("T")
SigningAlg = Literal["ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"]
EncryptionAlg = Literal["RSA-OAEP-256", "RSA-OAEP", "ECDH-ES", "ECDH-ES+A256KW"]

app = typer.Typer(
    help="A backend-for-frontend: signs users of a single-page application in with OpenID Connect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Port = Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")]
FirstPort = Annotated[int, typer.Option(min=1, max=65533, help="The first of three ports.")]


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
    # uvicorn raises the signal that stopped it once more when all is done, which would end us as if
    # by a crash: an operator's stop is a success.
    signal.signal(signal.SIGTERM, _done)
    uvicorn.run(
        "bff:create_app", factory=True, host=host, port=port, workers=workers, **server_options()
    )


def _done(_number: int, _frame: FrameType | None) -> None:
    """Take note of a signal that has been acted on."""


@app.command()
def demo(port: FirstPort = 8080) -> None:
    """Run everything on this machine: a provider, an API, an SPA, Redis and the service."""
    from bff.demo.runner import run_demo  # noqa: PLC0415 - nothing else needs the demo

    raise typer.Exit(run_demo(port))


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find out whether a login could work, and say what is in the way."""
    from bff.doctor import run_check  # noqa: PLC0415 - only this command looks around

    works = _with_settings(lambda settings: run_check(settings, json=as_json))
    raise typer.Exit(0 if works else NOT_READY)


sessions = typer.Typer(help="Count, list and end sessions.", no_args_is_help=True)
app.add_typer(sessions, name="sessions")
OfUser = Annotated[str | None, typer.Option("--sub", help="Only those of this user.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@sessions.command("count")
def sessions_count(sub: OfUser = None, as_json: AsJson = False) -> None:
    """Print how many sessions there are."""
    from bff import operators  # noqa: PLC0415

    _with_settings(lambda settings: operators.count(settings, sub, as_json=as_json))


@sessions.command("list")
def sessions_list(
    sub: OfUser = None,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    size: Annotated[int, typer.Option(min=1, max=1000, help="Sessions a page.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List sessions, the newest first."""
    from bff import operators  # noqa: PLC0415

    _with_settings(lambda settings: operators.show(settings, sub, page, size, as_json=as_json))


@sessions.command("end")
def sessions_end(
    display_id: Annotated[str | None, typer.Argument(help="The id that `list` shows.")] = None,
    sub: OfUser = None,
    everybody: Annotated[bool, typer.Option("--all", help="End every session.")] = False,
    as_json: AsJson = False,
) -> None:
    """End one session by its id, all of a user, or all there are."""
    from bff import operators  # noqa: PLC0415

    if sum((display_id is not None, sub is not None, everybody)) != 1:
        raise typer.BadParameter("give an id, or --sub, or --all")
    ended = _with_settings(
        lambda settings: operators.end(settings, display_id, sub, as_json=as_json)
    )
    if display_id is not None and not ended:
        raise typer.Exit(NOT_READY)


def _with_settings(work: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    try:
        settings, _ = read_configuration()
    except ConfigurationError as error:
        typer.echo(report(error), err=True)
        raise typer.Exit(CONFIGURATION_FAULT) from None
    logs.configure("console", "error")
    try:
        return asyncio.run(work(settings))
    except StoreUnavailableError:
        typer.echo("bff: Redis does not answer; is BFF_REDIS_URL right?", err=True)
        raise typer.Exit(NOT_READY) from None


@app.command()
def secret() -> None:
    """Print a fresh value for BFF_SECRET."""
    sys.stdout.write(random.token_urlsafe(48) + "\n")


@app.command()
def keys(
    file: Annotated[Path, typer.Argument(help="The file that BFF_CLIENT_KEY_FILE names.")],
    alg: Annotated[
        SigningAlg | None, typer.Option(help="What new keys sign with. ES256 in a new file.")
    ] = None,
    encryption: Annotated[
        EncryptionAlg | None, typer.Option(help="Also make keys for encryption.")
    ] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Move every key a step on.")] = False,
) -> None:
    """Make the client's keys, or show them; print what of them is public."""
    from bff import key_file  # noqa: PLC0415 - only this command makes keys
    from bff.oidc.client_keys import BadClientKeyError  # noqa: PLC0415

    try:
        if not file.exists() and not rotate:
            found = key_file.make(file, alg or "ES256", encryption)
        elif rotate:
            found = key_file.rotate(file, alg)
        elif encryption is not None:
            found = key_file.add_encryption(file, encryption)
        else:
            found = key_file.read(file)
    except (BadClientKeyError, OSError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        typer.echo(f"bff: {file}: {problem}", err=True)
        raise typer.Exit(CONFIGURATION_FAULT) from None
    signer = None if found.signer is None else f"{found.signer.key.kid} ({found.signer.alg})"
    typer.echo(f"{file}: signs with {signer or 'nothing'}. Public, for the provider:", err=True)
    typer.echo(json.dumps({"keys": found.published()}, indent=2))


def main() -> None:
    """Run the command line."""
    app()
