"""Runs the dev provider by itself: ``python -m bff.demo.provider --port 8081 ...``."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction

import uvicorn

from bff.demo.loopback import SERVER_OPTIONS
from bff.demo.provider import Client, Lifetimes, ProviderConfig, create_provider


def parser() -> ArgumentParser:
    """Describe the command line."""
    options = ArgumentParser(prog="python -m bff.demo.provider", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--client-id", required=True)
    options.add_argument("--client-secret", required=True)
    options.add_argument("--redirect-uri", action="append", required=True)
    options.add_argument("--post-logout-redirect-uri", action="append", default=[])
    options.add_argument("--backchannel-logout-uri")
    options.add_argument("--audience", required=True)
    options.add_argument(
        "--resource", action="append", default=[], help="a further audience of access tokens"
    )
    options.add_argument("--access-token-lifetime", type=int, default=300, help="seconds")
    options.add_argument(
        "--rotate",
        action=BooleanOptionalAction,
        default=True,
        help="replace the refresh token at every use",
    )
    return options


def main(arguments: list[str] | None = None) -> None:
    """Serve on 127.0.0.1 until stopped."""
    given = parser().parse_args(arguments)
    client = Client(
        client_id=given.client_id,
        client_secret=given.client_secret,
        redirect_uris=tuple(given.redirect_uri),
        post_logout_redirect_uris=tuple(given.post_logout_redirect_uri),
        backchannel_logout_uri=given.backchannel_logout_uri,
    )
    config = ProviderConfig(
        issuer=f"http://127.0.0.1:{given.port}",
        clients=(client,),
        audience=given.audience,
        lifetimes=Lifetimes(access_token=given.access_token_lifetime),
        rotate=given.rotate,
        resources=tuple(given.resource),
    )
    uvicorn.run(
        create_provider(config),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        **SERVER_OPTIONS,
    )


if __name__ == "__main__":
    main()
