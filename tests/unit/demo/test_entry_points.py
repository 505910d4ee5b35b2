from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from bff.demo.provider.__main__ import parser
from tests.unit.demo.driver import listen

PROVIDER = [
    "--client-id", "app", "--client-secret", "s", "--redirect-uri", "http://localhost:1/cb",
    "--post-logout-redirect-uri", "http://localhost:1/out",
    "--backchannel-logout-uri", "http://localhost:1/bc", "--audience", "http://127.0.0.1:2",
    "--access-token-lifetime", "7",
]  # fmt: skip


@asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[str]:
    """Run a module as a process until it has been used; it must say nothing and end cleanly."""
    with listen() as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--port", str(port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await until_answered(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        output, _ = await asyncio.wait_for(process.communicate(), 10)
    assert output == b""


async def until_answered(url: str) -> None:
    async with httpx2.AsyncClient() as http, asyncio.timeout(30):
        while True:
            try:
                await http.get(url)
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_both_run_by_themselves() -> None:
    """The provider and the API run as processes, quietly, with what the command line says."""
    async with (
        running("bff.demo.provider", *PROVIDER) as issuer,
        running("bff.demo.api", "--issuer", issuer, "--audience", "http://127.0.0.1:2") as api,
        httpx2.AsyncClient() as http,
    ):
        form = {"grant_type": "client_credentials"}
        answer = (await http.post(f"{issuer}/token", data=form, auth=("app", "s"))).json()
        assert answer["expires_in"] == 7
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        assert (await http.get(f"{api}/api/orders", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("flags", "expected"), [([], True), (["--rotate"], True), (["--no-rotate"], False)]
)
def test_rotation_can_be_switched_off(flags: list[str], expected: bool) -> None:
    """Refresh tokens rotate unless the command line says otherwise."""
    assert parser().parse_args(["--port", "1", *PROVIDER, *flags]).rotate is expected
