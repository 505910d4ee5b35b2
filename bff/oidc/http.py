"""The HTTP client for calls to the provider, with every limit set.

Documents that anybody may read, discovery and keys, come by httpx2's transport, to which requests
are handed as they are: what its client would add (cookies, which would pass from one user to the
next, redirects, proxy variables) must not be. What comes with every sign-in goes by `connections`,
which cost less. Either way no answer is taken that is larger than a limit, compressed, or slow. How
a client authenticates is Authlib's `ClientAuth`, with our hooks.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, cast

import httpx2
from authlib.oauth2.auth import ClientAuth

from bff.deadline import Deadline
from bff.errors import ProviderUnavailableError
from bff.oidc.connections import CONNECT, MAX_BODY, SILENCE, Answer, Connections, TooLargeError
from bff.oidc.form import form_encoded
from bff.oidc.mtls import tls_context

DEADLINE = 10.0
TIMEOUT = httpx2.Timeout(SILENCE, connect=CONNECT, pool=DEADLINE)
LIMITS = httpx2.Limits(max_connections=8, max_keepalive_connections=1, keepalive_expiry=4.0)
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "bff"}
FORM = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
EXTENSIONS = {"timeout": TIMEOUT.as_dict()}


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
        context = tls or tls_context()
        self._connections = Connections(context)
        self._transport = BoundedTransport(
            verify=context, limits=LIMITS, retries=0, trust_env=False
        )

    def register(self, name: str, hook: object) -> None:
        """Make a client authentication method known under its name."""
        self._methods[name] = hook

    async def get(self, url: str) -> Answer:
        """GET a document that anybody may read."""
        return await _in_time(self._document(url))

    async def ask(self, url: str, headers: Mapping[str, str]) -> Answer:
        """GET what an access token, in `headers`, is needed for."""
        return await _in_time(self._connections.answer("GET", url, {**HEADERS, **headers}, None))

    async def post(
        self,
        url: str,
        form: Mapping[str, str | list[str]],
        method: str,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST a form with client authentication `method`; each call makes its own assertion."""
        hook = self._methods.get(method, method)
        auth: Any = ClientAuth(self._client_id, self._client_secret, hook)
        body = form_encoded(form)
        url, sent, body = auth.prepare("POST", url, {**FORM, **(headers or {})}, body)
        return await _in_time(self._connections.answer("POST", url, sent, body.encode()))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
        await self._connections.aclose()

    async def _document(self, url: str) -> Answer:
        request = httpx2.Request("GET", url, headers=HEADERS, extensions=EXTENSIONS)
        response = await self._transport.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, response.content)


async def _in_time(answer: Awaitable[Answer]) -> Answer:
    try:
        with Deadline(DEADLINE):
            return await answer
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, TimeoutError) as error:
        # The library's text may name URLs with parameters; only the kind of error is kept.
        raise ProviderUnavailableError(type(error).__name__) from None
