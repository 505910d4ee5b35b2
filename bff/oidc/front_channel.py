"""What passes between the provider and us through the browser, in the form that was agreed.

Out goes the authorization request: signed (RFC 9101) where we want it or the provider demands it,
and by PAR (RFC 9126) where the provider takes it, pushed anew each time. Back comes the answer:
parameters, or a signed JWT that holds them (JARM).
"""

from __future__ import annotations

from collections.abc import Mapping

from bff.oidc import token_endpoint
from bff.oidc.authorization import BadResponseError, check_issuer
from bff.oidc.jarm import JWT_MODES, judge_response, signed_response
from bff.oidc.keys import BadTokenError
from bff.oidc.metadata import Metadata
from bff.oidc.provider import Provider
from bff.oidc.request_object import by_value, pushed, request_object


async def outgoing(
    provider: Provider, metadata: Metadata, parameters: dict[str, str], now: float, random: bytes
) -> dict[str, str]:
    """Return what stands in the address of the authorization endpoint.

    Raises ProviderUnavailableError where the provider does not take the request.
    """
    endpoint = metadata.pushed_authorization_request_endpoint
    signer = provider.request_signer(metadata)
    sent = parameters
    if signer is not None:
        signed = request_object(parameters, signer, provider.issuer, now, random)
        sent = (by_value if endpoint is None else pushed)(parameters, signed)
    if endpoint is None:
        return sent
    request_uri = await token_endpoint.push(provider, endpoint, sent)
    return {"client_id": parameters["client_id"], "request_uri": request_uri}


async def incoming(
    provider: Provider, parameters: Mapping[str, str], now: float
) -> Mapping[str, str]:
    """Return the parameters of an answer, out of its JWT where a signed answer was asked for.

    Raises BadResponseError.
    """
    registration = provider.registration
    if registration.response_mode not in JWT_MODES:
        return parameters
    response = signed_response(parameters)
    check_issuer(parameters, issuer=provider.issuer, promises_iss=False)
    try:
        token = await provider.verified(response, plain=True, brought=True)
    except BadTokenError as error:
        raise BadResponseError(f"response_{error.reason}") from None
    return judge_response(token, registration.policy, now)
