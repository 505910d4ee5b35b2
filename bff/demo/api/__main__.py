"""Runs the demo API by itself: ``python -m bff.demo.api --port 8082 --issuer URL ...``."""

from __future__ import annotations

from argparse import ArgumentParser

import uvicorn

from bff.demo.api import create_api
from bff.demo.loopback import SERVER_OPTIONS


def main(arguments: list[str] | None = None) -> None:
    """Serve on 127.0.0.1 until stopped."""
    options = ArgumentParser(prog="python -m bff.demo.api", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--issuer", required=True, help="whose tokens are believed")
    options.add_argument("--audience", required=True, help="the aud that tokens must have")
    given = options.parse_args(arguments)
    uvicorn.run(
        create_api(given.issuer, given.audience),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        **SERVER_OPTIONS,
    )


if __name__ == "__main__":
    main()
