"""A signed authorization response (JWT Secured Authorization Response Mode, JARM). Pure.

The one parameter `response` is a JWT, perhaps encrypted, that holds the answer. Rules (JARM 2.4, in
this order; the signature was checked before, by `keys.verify`): no foreign `typ`; `iss` is the
issuer to the letter; `aud` is us alone; `exp` is there and has not passed. Then what it says counts
like parameters in the address, errors too; what stands beside it in the address does not.
"""

from __future__ import annotations

from collections.abc import Mapping

from bff.oidc.authorization import MAX_PARAMETER, SINGLE, BadResponseError
from bff.oidc.keys import Verified
from bff.oidc.tokens import Policy, is_time

JWT_MODES = frozenset({"jwt", "form_post.jwt"})
RESPONSE_TYPES = frozenset({"jwt", "oauth-authz-resp+jwt"})
PARAMETERS = (SINGLE - {"response"}) | {"session_state"}


def signed_response(parameters: Mapping[str, str]) -> str:
    """Return the JWT of an answer. Raises BadResponseError for one that is not signed."""
    response = parameters.get("response")
    if not response:
        raise BadResponseError("no_signed_response")
    return response


def judge_response(token: Verified, policy: Policy, now: float) -> dict[str, str]:
    """Return the parameters in a signed answer. Raises BadResponseError for the first fault."""
    typ = token.header.get("typ")
    if typ is not None and (
        not isinstance(typ, str) or typ.lower().removeprefix("application/") not in RESPONSE_TYPES
    ):
        raise BadResponseError("response_typ")
    claims = token.claims
    if claims.get("iss") != policy.issuer:
        raise BadResponseError("response_iss")
    if claims.get("aud") not in (policy.client_id, [policy.client_id]):
        raise BadResponseError("response_aud")
    expires = claims.get("exp")
    if not is_time(expires) or now >= expires + policy.skew:
        raise BadResponseError("response_exp")
    found: dict[str, str] = {}
    for name in PARAMETERS & claims.keys():
        value = claims[name]
        if not isinstance(value, str) or len(value) > MAX_PARAMETER:
            raise BadResponseError("response_parameter")
        found[name] = value
    return found
