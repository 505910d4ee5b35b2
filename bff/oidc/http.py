"""The HTTP client for calls to the provider: httpx2's transport, with every limit set.

One transport a provider, so that connections are kept. Requests are handed to it as they are: what
httpx2's client would add (cookies, which would pass from one user to the next, redirects, proxy
variables) must not be, and costs more than the call itself. No answer is taken that is larger than
a limit, compressed, or slow. How a client authenticates is Authlib's `ClientAuth`, with our hooks.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlencode

import httpx2
from authlib.oauth2.auth import ClientAuth

from bff.errors import ProviderUnavailableError
from bff.oidc.mtls import tls_context

MAX_BODY = 1_048_576
DEADLINE = 10.0
TIMEOUT = httpx2.Timeout(5.0, connect=3.0, pool=DEADLINE)
# Enough that a wave of refreshes, each of them slow, has not to wait for its turn.
LIMITS = httpx2.Limits(max_connections=512, max_keepalive_connections=64, keepalive_expiry=20.0)
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
    "User-Agent": "bff",
}
FORM = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
EXTENSIONS = {"timeout": TIMEOUT.as_dict()}

parsed = lru_cache(maxsize=256)(httpx2.URL)


class TooLargeError(httpx2.TransportError):
    """The answer is larger than anything a provider has reason to send, or it is compressed."""


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLargeError("too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """A transport whose answers have a greatest size."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the body is counted as it is read."""
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise TooLargeError("compressed")
        stream = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _BoundedStream(stream, MAX_BODY)
        return response


class ProviderClient:
    """Requests to one provider. Every failure to get an answer is ProviderUnavailableError."""

    def __init__(
        self, client_id: str, client_secret: str | None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret or ""
        self._methods: dict[str, Any] = {}
        self._transport = BoundedTransport(
            verify=tls or tls_context(), limits=LIMITS, retries=0, trust_env=False
        )

    def register(self, name: str, hook: object) -> None:
        """Make a client authentication method known under its name."""
        self._methods[name] = hook

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """GET without client authentication."""
        return await self._answer("GET", url, {**HEADERS, **(headers or {})}, None)

    async def post(
        self,
        url: str,
        form: Mapping[str, str | list[str]],
        method: str,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """POST a form with client authentication `method`; each call makes its own assertion."""
        hook = self._methods.get(method, method)
        auth: Any = ClientAuth(self._client_id, self._client_secret, hook)
        body = urlencode(form, doseq=True)
        url, sent, body = auth.prepare("POST", url, {**FORM, **(headers or {})}, body)
        return await self._answer("POST", url, sent, body.encode())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> httpx2.Response:
        try:
            request = httpx2.Request(
                method, parsed(url), headers=headers, content=body, extensions=EXTENSIONS
            )
            async with asyncio.timeout(DEADLINE):
                response = await self._transport.handle_async_request(request)
                try:
                    await response.aread()
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            # The library's text may name URLs with parameters; only the kind of error is kept.
            raise ProviderUnavailableError(type(error).__name__) from None
        return response
