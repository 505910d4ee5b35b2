"""TLS to upstreams: verified and named always; with our certificate where a route says so.

A certificate that binds access tokens (RFC 8705 section 3) must be shown where they are used, and
nowhere else: it says who we are.
"""

from __future__ import annotations

import ssl
from functools import cached_property

from bff.proxy.wire import Address


class UpstreamTls:
    """The TLS contexts for all upstreams. `with_certificate` shows ours; None: there is none."""

    def __init__(self, with_certificate: ssl.SSLContext | None = None) -> None:
        self._with_certificate = with_certificate
        if with_certificate is not None:
            with_certificate.set_alpn_protocols(["http/1.1"])

    def of(self, address: Address) -> ssl.SSLContext | None:
        """Return the context for an address; None where it is plain http."""
        if address.scheme == "http":
            return None
        if not address.with_certificate:
            return self._plain
        assert self._with_certificate is not None, "the configuration has been judged"
        return self._with_certificate

    @cached_property
    def _plain(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context
