"""Signing in where there is no ID token: who the user is, the provider's API says (RFC 6749).

For providers that speak OAuth 2.0 and not OpenID Connect, behind BFF_OAUTH2_WITHOUT_ID_TOKEN. The
code is bound to this browser by `state` and PKCE, and the API is asked with the token that the
provider gave for it. What is missing: nothing is signed, there is no `nonce`, and nobody says when
or how the user signed in, so nothing of that kind may be asked for. Nor does the provider ever
tell us that somebody signed out there.
"""

from __future__ import annotations

from collections.abc import Mapping

from bff.errors import ProviderUnavailableError
from bff.oidc.authorization import BadOptionError, Options
from bff.oidc.grants import BUSY
from bff.oidc.json import BadJsonError, parse_object
from bff.oidc.keys import BadTokenError
from bff.oidc.provider import Provider
from bff.oidc.tokens import MAX_SUB, IdToken, check_required
from bff.provider_values import PlainOAuth2

OF_OPENID_CONNECT = frozenset({"nonce", "max_age", "acr_values", "claims"})


def plain_request(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return an authorization request without what only OpenID Connect knows."""
    return {
        name: value for name, value in parameters.items() if value and name not in OF_OPENID_CONNECT
    }


def check_askable(options: Options) -> None:
    """Refuse what no answer could prove. Raises BadOptionError."""
    for name in ("max_age", "acr_values", "claims"):
        if getattr(options, name) is not None:
            raise BadOptionError(name)
    if options.silent:
        raise BadOptionError("silent")


async def identify(
    provider: Provider, plain: PlainOAuth2, access_token: str, now: float
) -> IdToken:
    """Ask the API who has this token; the answer takes the place of an ID token's claims.

    Raises BadTokenError where it does not say, ProviderUnavailableError where it cannot be asked.
    """
    headers = {"Authorization": f"Bearer {access_token}"}
    response = await provider.client.ask(plain.userinfo_endpoint, headers)
    if response.status_code >= 500 or response.status_code in BUSY:  # noqa: PLR2004
        raise ProviderUnavailableError(f"userinfo_{response.status_code}")
    if response.status_code != 200:  # noqa: PLR2004
        raise BadTokenError(f"userinfo_{response.status_code}")
    try:
        answer = parse_object(response.content)
    except BadJsonError:
        raise BadTokenError("userinfo_not_json") from None
    sub = subject(answer.get(plain.subject))
    check_required(answer, provider.registration.policy)
    kept = {name: answer[name] for name in plain.claims if answer.get(name) is not None}
    return IdToken(sub, None, now, {**kept, "sub": sub}, "", provider.issuer)


def subject(value: object) -> str:
    """Return what names a user, as text: some number them. Raises BadTokenError for what cannot."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUB:
        raise BadTokenError("userinfo_sub")
    return value
