"""Which headers a route may let through that are refused elsewhere. Pure.

Rules: deny by default. Of a request, only names of the two families that are refused for what some
of their members tell a backend, though others are harmless: `X-User-Locale` may pass, `X-User-Id`
says who is calling and never may. Whatever frames a message, belongs to one connection, or tells of
credentials, address, path or method is never let through, whoever asks for it. Of an answer, the
few in `ANSWER_NAMES`.

Source: contract, section 5.
"""

from __future__ import annotations

from bff.proxy.wire import TOKEN

REQUEST_FAMILIES = (b"x-user-", b"x-email-")
WHO_IS_CALLING = frozenset(
    b"account acl acr addr address addresses admin alias amr assertion assurance attributes aud "
    b"audience auth authenticated authn authority authorization authz bearer cert certificate "
    b"claim claims client code cookie credential credentials customer data display dn domain email "
    b"emails employee entitlements family fingerprint first for forwarded from full fullname gid "
    b"given group groupid groups guid handle hash host id ident identifier identities identity ids "
    b"impersonate impersonated info ip is issuer jwt key last level login logins mail member "
    b"membership memberof method name names nickname number object oid org organisation "
    b"organization owner pass password path payload permission permissions person phone port "
    b"preferred primary principal privileges profile proto provider realm record ref reference "
    b"request result role roleid roles root scope scopes secret session sid signature staff state "
    b"status sub subject success sudo super team tenant ticket tid to token tokens trust trusted "
    b"type uid upn uri url user userid username users uuid valid validated verification verified "
    b"verify".split()
)
ANSWER_NAMES = frozenset(
    {b"service-worker-allowed", b"clear-site-data", b"x-accel-buffering", b"x-accel-limit-rate"}
)
MIN_WORD = 2


def request_may_pass(name: bytes) -> bool:
    """Return whether a route may let a request header through; `name` in lower case.

    What follows the family is words of letters, of which none speaks of who is calling.
    """
    family = next((family for family in REQUEST_FAMILIES if name.startswith(family)), None)
    if family is None or name.translate(None, TOKEN):
        return False
    return all(
        len(word) >= MIN_WORD and word.isalpha() and word not in WHO_IS_CALLING
        for word in name[len(family) :].split(b"-")
    )


def answer_may_pass(name: bytes) -> bool:
    """Return whether a route may let a header of the answer through; `name` in lower case."""
    return name in ANSWER_NAMES
