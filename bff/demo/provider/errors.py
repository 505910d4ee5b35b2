"""The two ways a request to the dev provider fails: as JSON to a program, as a page to a person.

A third, the error that travels back to the client on the redirect URI, is `AuthorizationError` in
`authorization_request`: it can exist only once the redirect URI has been found registered.
"""

from __future__ import annotations

from http import HTTPStatus


class OAuthError(Exception):
    """An error of a JSON endpoint (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


class InvalidClientError(OAuthError):
    """The client is unknown or did not authenticate (401 `invalid_client`)."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_client", description, HTTPStatus.UNAUTHORIZED)


class PageError(Exception):
    """An error that only a person can be told, since no address can be trusted with it."""

    def __init__(self, title: str, text: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(title)
        self.title = title
        self.text = text
        self.status = status
