"""The service with open routes to scripted upstreams, without a provider: for what it carries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Cast, Service, free_port
from tests.support.raw_http import RawAnswer, exchange, request
from tests.support.raw_upstream import Handler, raw_upstream

PATIENCE = 30.0


@dataclass
class OpenProxy:
    """A running service; `ports` are those that its upstreams listen on, once a test runs them."""

    service: Service
    ports: list[int]

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self.service.base_url

    @property
    def resident(self) -> int:
        """Bytes of memory that the service's process holds."""
        status = Path(f"/proc/{self.service.process.popen.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    async def ask(self, target: str | bytes, *fields: str, **options: Any) -> RawAnswer:
        """Send one request, byte for byte, and return the answer."""
        return await exchange(self.base_url, request(target, *fields, **options), PATIENCE)

    def upstream(self, handler: Handler, number: int = 0) -> Any:
        """Run an upstream for as long as a test needs it."""
        return raw_upstream(handler, port=self.ports[number])

    @asynccontextmanager
    async def connection(
        self, **options: Any
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection to the service, closed at the end whatever became of it."""
        host, port = self.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), **options)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


@contextmanager
def open_proxy(
    folder: Path,
    redis_url: str,
    routes: Mapping[str, Mapping[str, Any]],
    upstreams: int = 1,
    **settings: str,
) -> Iterator[OpenProxy]:
    """Run the service. Of each route, `upstream` is the number of one, or a list of numbers.

    A path after the number, as in `"0/base"`, is the base path.
    """
    ports = [free_port() for _ in range(upstreams)]

    def url(place: int | str) -> str:
        number, slash, path = str(place).partition("/")
        return f"http://127.0.0.1:{ports[int(number)]}{slash}{path}"

    table: dict[str, Any] = {}
    for prefix, route in routes.items():
        place = route.get("upstream", 0)
        urls = [url(one) for one in place] if isinstance(place, list) else url(place)
        table[prefix] = {"auth": "none", **route, "upstream": urls}
    with ExitStack() as stack:
        cast = Cast(stack, folder, redis_url)
        env = {
            "BFF_ISSUER": f"http://127.0.0.1:{free_port()}",
            "BFF_CLIENT_ID": "nobody",
            "BFF_CLIENT_AUTH": "none",
            "BFF_ROUTES": json.dumps(table),
            **settings,
        }
        yield OpenProxy(cast.service(env, ready=False), ports)
