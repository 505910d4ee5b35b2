"""The HTTP client for calls to the provider: Authlib over httpx2, with every limit set.

One client a provider, so that connections are kept. It keeps no cookies (they would pass from one
user to the next), follows no redirects, reads no proxy variables, and takes no answer that is
larger than a limit, compressed, or slow.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client

from bff.errors import ProviderUnavailableError
from bff.oidc.mtls import tls_context

MAX_BODY = 1_048_576
DEADLINE = 10.0
TIMEOUT = httpx2.Timeout(5.0, connect=3.0, pool=DEADLINE)
# Enough that a wave of refreshes, each of them slow, has not to wait for its turn.
LIMITS = httpx2.Limits(max_connections=512, max_keepalive_connections=64, keepalive_expiry=20.0)
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "bff"}


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
        self._client: Any = AsyncOAuth2Client(
            client_id=client_id,
            client_secret=client_secret or "",
            headers=HEADERS,
            timeout=TIMEOUT,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=BoundedTransport(
                verify=tls or tls_context(), limits=LIMITS, retries=0, trust_env=False
            ),
            follow_redirects=False,
            trust_env=False,
        )

    def register(self, name: str, hook: object) -> None:
        """Make a client authentication method known under its name."""
        self._client.register_client_auth_method((name, hook))

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """GET without client authentication."""
        return await self._answer(self._client.get(url, headers=headers, auth=None))

    async def post(
        self,
        url: str,
        form: Mapping[str, str | list[str]],
        method: str,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """POST a form with client authentication `method`; each call makes its own assertion."""
        auth = self._client.client_auth(method)
        sent = self._client.post(url, data=dict(form), auth=auth, headers=headers)
        return await self._answer(sent)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _answer(self, request: Any) -> httpx2.Response:
        try:
            async with asyncio.timeout(DEADLINE):
                response: httpx2.Response = await request
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            # The library's text may name URLs with parameters; only the kind of error is kept.
            raise ProviderUnavailableError(type(error).__name__) from None
        return response
