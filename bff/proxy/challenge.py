"""Why an upstream answered 401: the challenge in its `WWW-Authenticate`. Pure.

Rules: only a challenge of the scheme that a token was sent with counts, and only one that names an
`error`; parameters are read by the grammar and not by looking for words. What goes on into a URL of
ours (`acr_values`, `max_age`) is the upstream's word, so it is judged and bounded first; a value
that is not what its specification says is as if it were not there.

Source: RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXPIRED = "invalid_token"
NONCE_WANTED = "use_dpop_nonce"
TOO_WEAK = "insufficient_user_authentication"
MAX_ACR_VALUES = 8
MAX_ACR_LENGTH = 400
MAX_MAX_AGE = 31_536_000
_SCHEMES = frozenset({"bearer", "dpop"})
_VISIBLE = re.compile(r"[!-~]+(?: [!-~]+)*")
_SECONDS = re.compile(r"[0-9]{1,9}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StepUp:
    """What an upstream asks of the user's sign-in: `acr_values` as sent, `max_age` in seconds."""

    acr_values: str | None = None
    max_age: int | None = None


def bearer_error(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the `error` of the first Bearer (or DPoP) challenge that names one."""
    return bearer_challenge(headers).get("error")


def bearer_challenge(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the parameters of the first Bearer (or DPoP) challenge that names an `error`.

    Names are in lower case; of a name that is there twice the first value counts.
    """
    for name, value in headers:
        if name == b"www-authenticate":
            scheme, parameters = "", dict[str, str]()
            for part in _parts(value.decode("latin-1")):
                left, equals, right = part.partition("=")
                words = left.split()
                if not words:
                    continue
                if len(words) > 1 or not equals:
                    if "error" in parameters:
                        return parameters
                    scheme, parameters = words[0].lower(), {}
                if equals and scheme in _SCHEMES:
                    parameters.setdefault(words[-1].lower(), _unquoted(right))
            if "error" in parameters:
                return parameters
    return {}


def step_up(parameters: Mapping[str, str]) -> StepUp:
    """Return what a challenge asks for (RFC 9470 section 3), as far as it can be understood."""
    acr_values, max_age = parameters.get("acr_values", ""), parameters.get("max_age", "")
    values = acr_values.split(" ")
    usable = (
        len(acr_values) <= MAX_ACR_LENGTH
        and len(values) <= MAX_ACR_VALUES
        and _VISIBLE.fullmatch(acr_values) is not None
    )
    seconds = int(max_age) if _SECONDS.fullmatch(max_age) else None
    return StepUp(
        acr_values=acr_values if usable else None,
        max_age=seconds if seconds is not None and seconds <= MAX_MAX_AGE else None,
    )


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value.strip('"')


def _parts(value: str) -> Iterable[str]:
    """Split at commas outside quoted strings."""
    part: list[str] = []
    quoted = escaped = False
    for character in value:
        if character == "," and not quoted:
            yield "".join(part)
            part = []
            continue
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        part.append(character)
    yield "".join(part)
